"""The master keys, under which the keys of requests are wrapped: from a setting, from a command (for a KMS), or from a file.

The first one wraps; all of them unwrap. Knows nothing of the database.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
import subprocess
from collections.abc import Sequence

from safelight.errors import SetupFailed, Unavailable
from safelight.service.seals import KEY_BYTES, Seal
from safelight.settings import Settings
from safelight.storage.disk import sync

FILE = "master.key"
MARK_BYTES = 8
COMMAND_SECONDS = 30.0


class Masters:
    """``load`` before use. A key is known by its mark, which tells nothing of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.data_dir / FILE
        self._seals: dict[bytes, Seal] = {}

    @property
    def in_file(self) -> bool:
        return not self._settings.master_key and not self._settings.master_key_command

    @property
    def current(self) -> bytes:
        """The mark of the first."""
        return next(iter(self._seals))

    @property
    def marks(self) -> frozenset[bytes]:
        return frozenset(self._seals)

    def load(self, *, may_make: bool = False) -> None:
        """Raises SetupFailed where there is none, or what is given is no key."""
        if may_make and self.in_file and not self._path.exists():
            self._write([os.urandom(KEY_BYTES)])
        self._seals = {_mark(key): Seal(key) for key in _keys(self._text())}

    def wrap(self, key: bytes, place: str) -> bytes:
        return self._seals[self.current].close(key, place)

    def unwrap(self, mark: bytes, wrapped: bytes, place: str) -> bytes:
        """Raises Unavailable where that master key is not here."""
        if mark not in self._seals:
            raise Unavailable("The master key that this was stored under is not known here.")
        return self._seals[mark].open(wrapped, place)

    def add(self) -> None:
        """A new first one, in the file."""
        self._write([os.urandom(KEY_BYTES), *(seal.key for seal in self._seals.values())])
        self.load()

    def keep_only_current(self) -> None:
        """In the file. From here on nothing that is wrapped under another can be opened, wherever a copy of it is."""
        self._write([self._seals[self.current].key])
        self.load()

    def _text(self) -> str:
        if self._settings.master_key:
            return self._settings.master_key
        if self._settings.master_key_command:
            return _said_by(self._settings.master_key_command)
        try:
            return self._path.read_text("ascii")
        except FileNotFoundError:
            raise SetupFailed(
                f"The master key is to be at {self._path}, and nothing is there. Copy it from the server's data directory, "
                "or give it with SAFELIGHT_MASTER_KEY."
            ) from None

    def _write(self, keys: Sequence[bytes]) -> None:
        """Beside its place and then into it: whoever reads finds the old or the new, after a crash too."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(b"".join(base64.b64encode(key) + b"\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._path)
        sync(self._path.parent)


def _keys(text: str) -> list[bytes]:
    """Nothing of what is wrong is quoted: it may be a key."""
    try:
        keys = [base64.b64decode(word, validate=True) for word in text.replace(",", " ").split()]
    except (binascii.Error, ValueError):
        keys = []
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise SetupFailed(
            "The master key must be one or more times 32 bytes in base64, as `openssl rand -base64 32` makes."
        )
    return keys


def _mark(key: bytes) -> bytes:
    return hashlib.sha256(b"safelight master key\0" + key).digest()[:MARK_BYTES]


def _said_by(command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # the operator's own words, no shell
            shlex.split(command), capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise SetupFailed(
            f"The command that tells the master key failed ({type(error).__name__}). Try it by hand."
        ) from None
    return done.stdout
