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
AWHILE = (429, 500, 502, 503, 504)  # of a server that has sent a part: it is asked again
_RANGE = re.compile(r"bytes (?P<start>\d{1,19})-\d{1,19}/(?P<whole>\d{1,19})")


class Missing(Unfetchable):
    """Nothing is at the address."""


class Interrupted(Unfetchable):
    """A server that had begun says that it cannot go on now."""


@dataclass
class Download:
    """From ``address`` into ``file``, an empty one. ``note`` is told the bytes so far, and how many there are, 0 where nobody says;
    ``glance`` is shown the first bytes, and may refuse the rest.
    """

    outbound: Outbound
    address: str
    file: BinaryIO
    field: str
    limit: int
    note: Callable[[int, int], None]
    glance: Callable[[bytes], None] | None = None
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
            except (*BROKEN_OFF, Interrupted):
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
                if self.glance and self.file.tell() == 0:
                    self.glance(chunk)
                self.file.write(chunk)
                self.note(self.file.tell(), self.whole)

    def _headers(self) -> dict[str, str]:
        """Only of the same version; where a server marks none, the size must be the same. Without either: from the beginning."""
        at = self.file.tell() if self.version or self.whole else 0
        wanted = {"Range": f"bytes={at}-"} if at else {}
        return {"Accept": "*/*"} | wanted | ({"If-Range": self.version} if wanted and self.version else {})

    def _take_place(self, response: Response) -> None:
        """Behind what is here, where the answer goes on with it; else from the beginning."""
        if response.status not in (200, 206):
            raise self._refusal(response.status)
        if (header_of(response, b"content-encoding") or "identity").lower() != "identity":
            raise Unfetchable(self.field, "is sent compressed, which was not asked for")
        if response.status == 206:
            self._go_on_with(header_of(response, b"content-range") or "")
            return
        self.file.seek(0)
        self.file.truncate()
        length = header_of(response, b"content-length") or ""
        self.whole = int(length) if length.isdecimal() and len(length) < 20 else 0
        mark = header_of(response, b"etag") or ""
        self.version = mark if mark and not mark.startswith("W/") else header_of(response, b"last-modified") or ""

    def _go_on_with(self, content_range: str) -> None:
        part = _RANGE.fullmatch(content_range)
        whole = int(part["whole"]) if part else 0
        if part is None or int(part["start"]) != self.file.tell() or self.whole not in (0, whole):
            raise Unfetchable(self.field, "changed while it was fetched")
        self.whole = whole

    def _refusal(self, status: int) -> Unfetchable:
        begun = self.file.tell() > 0
        kind = Missing if status in ABSENT else Interrupted if begun and status in AWHILE else Unfetchable
        return kind(self.field, f"was answered with status {status}")

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise Unfetchable(self.field, f"is larger than {megabytes(self.limit)} MB")
