"""`safelight doctor` asked from a running server, in a process of its own. Knows nothing of what is examined."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from safelight.errors import Overloaded, Unavailable
from safelight.service.aside import run_aside
from safelight.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination."""

    part: str
    ok: bool
    text: str


class Examination:
    """One at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = asyncio.Lock()

    async def run(self) -> list[Finding]:
        """Raises Overloaded while another looks, and Unavailable where nothing was said in time."""
        if self._turn.locked():
            raise Overloaded("The doctor is looking already.")
        async with self._turn:
            said, _ = await run_aside(self._settings, ("doctor", "--quick", "--json"))
        if not said.startswith(b"["):
            raise Unavailable("The doctor could not look.")
        return [Finding(**line) for line in json.loads(said)]
