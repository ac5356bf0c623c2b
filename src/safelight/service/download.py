"""One large file by its address, through the outbound client: gone on with by Range where it breaks off, never larger or longer
than allowed. Knows nothing of what is in it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from safelight.errors import Unfetchable
from safelight.service.outbound import BROKEN_OFF, Outbound, Response, header_of, megabytes, sentences

TRIES = 5  # in a row that bring nothing new
PAUSE = 0.5  # seconds before the second; each further one waits twice as long
ABSENT = (403, 404, 410)  # the first by stores that do not tell strangers what is not there
_RANGE = re.compile(r"bytes (?P<start>\d{1,19})-\d{1,19}/(?P<whole>\d{1,19})")


class Missing(Unfetchable):
    """Nothing is at the address."""


@dataclass
class Download:
    """From ``address`` into ``file``, an empty one. ``note`` is told the bytes so far, and how many there are, 0 where nobody says."""

    outbound: Outbound
    address: str
    file: BinaryIO
    field: str
    limit: int
    note: Callable[[int, int], None]
    whole: int = 0
    version: str = ""  # of what the first bytes are of, as its server marks it

    async def run(self, seconds: float) -> None:
        """Raises Unfetchable with a sentence for the caller."""
        with sentences(self.field):
            async with asyncio.timeout(seconds):
                await self._persist()

    async def _persist(self) -> None:
        vain = 0
        while True:
            before = self.file.tell()
            try:
                return await self._go_on()
            except BROKEN_OFF:
                vain = 0 if self.file.tell() > before else vain + 1
                if vain == TRIES:
                    raise
            await asyncio.sleep(PAUSE * 2**vain)

    async def _go_on(self) -> None:
        async with self.outbound.open(self.address, self._headers(), field=self.field) as response:
            self._take_place(response)
            self._check(self.whole)
            async for chunk in response.aiter_stream():
                self._check(self.file.tell() + len(chunk))
                self.file.write(chunk)
                self.note(self.file.tell(), self.whole)

    def _headers(self) -> dict[str, str]:
        """Only of the same version; where a server marks none, the size must be the same."""
        at = self.file.tell()
        wanted = {"Range": f"bytes={at}-"} if at else {}
        return {"Accept": "*/*"} | wanted | ({"If-Range": self.version} if wanted and self.version else {})

    def _take_place(self, response: Response) -> None:
        """Behind what is here, where the answer goes on with it; else from the beginning."""
        if response.status not in (200, 206):
            kind = Missing if response.status in ABSENT else Unfetchable
            raise kind(self.field, f"was answered with status {response.status}")
        if (header_of(response, b"content-encoding") or "identity").lower() != "identity":
            raise Unfetchable(self.field, "is sent compressed, which was not asked for")
        part = _RANGE.fullmatch(header_of(response, b"content-range") or "")
        if response.status == 206:
            if part is None or (int(part["start"]), int(part["whole"])) != (self.file.tell(), self.whole):
                raise Unfetchable(self.field, "changed while it was fetched")
            return
        self.file.seek(0)
        self.file.truncate()
        length = header_of(response, b"content-length") or ""
        self.whole = int(length) if length.isdecimal() and len(length) < 20 else 0
        mark = header_of(response, b"etag") or ""
        self.version = mark if mark and not mark.startswith("W/") else header_of(response, b"last-modified") or ""

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise Unfetchable(self.field, f"is larger than {megabytes(self.limit)} MB")
