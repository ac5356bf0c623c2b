"""`safelight doctor` asked from a running server, in a process of its own: what it loads goes with it, and a server that answers callers
is not held up. Knows nothing of what is examined.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from safelight.errors import Overloaded, Unavailable
from safelight.settings import Settings

SECONDS = 120.0
COMMAND = (sys.executable, "-m", "safelight", "doctor", "--quick", "--json")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination."""

    part: str
    ok: bool
    text: str


class Examination:
    """One at a time."""

    def __init__(self, settings: Settings) -> None:
        self._environment = {**os.environ, **_told(settings)}
        self._turn = asyncio.Lock()

    async def run(self) -> list[Finding]:
        """Raises Overloaded while another looks, and Unavailable where nothing was said in time."""
        if self._turn.locked():
            raise Overloaded("The doctor is looking already.")
        async with self._turn:
            return [Finding(**line) for line in json.loads(await self._said())]

    async def _said(self) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(SECONDS):
                said, _ = await process.communicate()
        except TimeoutError:
            raise Unavailable("The doctor did not come to an end.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if not said.startswith(b"["):
            raise Unavailable("The doctor could not look.")
        return said


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
