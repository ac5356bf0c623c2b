"""A slow server of somebody's model: it breaks off twice in the middle, and goes on where it is asked to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CHUNK = 2**20


@dataclass
class Shelter:
    """``breaks`` are the bytes after which it breaks off, each once; ``begun`` is where each answer began.

    Nothing is answered while ``gate`` is cleared. ``file`` is one file under whatever address, or a folder, of which ``asked``
    are the names that were asked for.
    """

    file: Path
    breaks: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    pause: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@contextmanager
def shelter(file: Path, *breaks: int) -> Iterator[Shelter]:
    here = Shelter(file, list(breaks))
    here.gate.set()

    class Visit(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.gate.wait(300)
            file = self._file()
            if not file.is_file():
                self.send_error(404)
                return
            begin = int(self.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
            size = file.stat().st_size
            here.begun.append(begin)
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(size - begin))
            self.send_header("ETag", '"of this file"')
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
            self.end_headers()
            self._send(file, begin, here.breaks.pop(0) if here.breaks else size)

        def _file(self) -> Path:
            name = self.path.partition("?")[0].removeprefix("/")
            here.asked.append(name)
            return here.file / name if here.file.is_dir() else here.file

        def _send(self, file: Path, begin: int, end: int) -> None:
            with file.open("rb") as data:
                data.seek(begin)
                while begin < end and (chunk := data.read(min(CHUNK, end - begin))):
                    self.wfile.write(chunk)
                    begin += len(chunk)
                    here.pause.wait(0.001)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Visit) as server:
        here.url = f"http://127.0.0.1:{server.server_address[1]}/{'model_index.json' if file.is_dir() else 'model.safetensors'}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()
