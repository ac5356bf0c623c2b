"""What workers and serving processes tell each other of jobs in the making, by notifications that pass no table.

Steps are numbers and go openly. A preview shows the caller's own picture, so it is sealed (HPKE, RFC 9180) for the one
process that asked, under a key that exists in that process's memory alone: what a notification may leave on a disk is noise.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from safelight.service.seals import FOR_ONE_PROCESS

STEPS, WATCH, PREVIEW = "safelight_steps", "safelight_watch", "safelight_preview"  # channels
MOST_PAYLOAD = 7_900  # bytes; PostgreSQL takes 7,999
MOST_PREVIEW = 5_600  # bytes of a preview, so that it fits a payload once it is sealed and in base64


@dataclass(frozen=True, slots=True)
class Step:
    """How far one attempt at a job has come."""

    job: int
    attempt: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Watch:
    """A serving process, by its public key, wants to hear of these jobs; of some with previews."""

    key: str
    jobs: Sequence[int]
    previews: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Preview:
    """One small picture of a job in the making, as a file."""

    job: int
    step: int
    picture: bytes


@dataclass(frozen=True)
class Ear:
    """What previews are sealed for: made anew by every process, and never written down."""

    _secret: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    @property
    def key(self) -> str:
        return base64.urlsafe_b64encode(self._secret.public_key().public_bytes_raw()).decode()

    def open(self, payload: str) -> Preview | None:
        """None for what was sealed for another process."""
        key, job, step, sealed = payload.split(" ")
        if key != self.key:
            return None
        try:
            picture = FOR_ONE_PROCESS.decrypt(base64.b64decode(sealed), self._secret, info=_about(job, step))
        except InvalidTag:
            return None
        return Preview(int(job), int(step), picture)


def seal(preview: Preview, key: str) -> str:
    """The payload that only the process with this public key can read."""
    public = X25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key))
    sealed = FOR_ONE_PROCESS.encrypt(preview.picture, public, info=_about(str(preview.job), str(preview.step)))
    return f"{key} {preview.job} {preview.step} {base64.b64encode(sealed).decode()}"


def write_steps(steps: Iterable[Step]) -> Iterator[str]:
    yield from _packed(f"{each.job}.{each.attempt}.{each.step}.{each.steps}" for each in steps)


def read_steps(payload: str) -> list[Step]:
    return [Step(*(int(number) for number in word.split("."))) for word in payload.split()]


def write_watch(watch: Watch) -> Iterator[str]:
    words = (f"{job}{'+' * (job in watch.previews)}" for job in watch.jobs)
    for jobs in _packed(words, MOST_PAYLOAD - len(watch.key) - 1):
        yield f"{watch.key} {jobs}"


def read_watch(payload: str) -> Watch:
    key, *words = payload.split()
    previews = frozenset(int(word[:-1]) for word in words if word.endswith("+"))
    return Watch(key, [int(word.removesuffix("+")) for word in words], previews)


def _packed(words: Iterable[str], most: int = MOST_PAYLOAD) -> Iterator[str]:
    """As many words to a payload as it holds."""
    held: list[str] = []
    size = 0
    for word in words:
        if held and size + len(word) > most:
            yield " ".join(held)
            held, size = [], 0
        held.append(word)
        size += len(word) + 1
    if held:
        yield " ".join(held)


def _about(job: str, step: str) -> bytes:
    return f"safelight preview {job} {step}".encode()
