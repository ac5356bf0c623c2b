"""A command of ours in a process of its own: what it loads goes with it, and a server that answers callers is not held up."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence

from safelight.errors import Unavailable
from safelight.settings import Settings

SAFELIGHT = (sys.executable, "-m", "safelight")
SECONDS = 240.0


async def run_aside(settings: Settings, words: Sequence[str]) -> tuple[bytes, bytes]:
    """What it said and what it complained of. Raises Unavailable where it did not come to an end."""
    process = await asyncio.create_subprocess_exec(
        *SAFELIGHT, *words, env={**os.environ, **_told(settings)}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            return await process.communicate()
    except TimeoutError:
        raise Unavailable(f"safelight {words[0]} did not come to an end.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _told(settings: Settings) -> Mapping[str, str]:
    """What options of the server's command line may have said otherwise than the environment does."""
    given = {
        "DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database_url,
        "BLOB_URL": settings.blob_url,
        "HOST": settings.host,
        "PORT": str(settings.port),
        "PUBLIC_URL": settings.public_url,
        "MODEL": settings.model,
        "MODELS": json.dumps({name: str(path) for name, path in settings.models.items()}),
    }
    return {f"SAFELIGHT_{name}": value for name, value in given.items() if value}
