"""What is stored: kinds of files, where their bytes stand, and pictures on their way there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum

TEMP_SECONDS = 24 * 3600.0  # that a request or an upload lives that is marked temporary


class AssetState(StrEnum):
    """Where an asset's bytes stand. Only ``live`` can be read."""

    pending = "pending"
    live = "live"
    deleting = "deleting"
    gone = "gone"


class AssetKind(Enum):
    """What a stored file is: its name in the database, its suffix and its media type."""

    output = ("output", ".png", "image/png")
    text = ("text", ".txt", "text/plain")  # an answer in words; it has no public address
    init_image = ("init_image", ".png", "image/png")
    mask_image = ("mask_image", ".png", "image/png")
    # Further pictures: those that ControlNets follow, that are mixed in, or that an instruction speaks of too.
    control_image = ("control_image", ".png", "image/png")
    second_control_image = ("second_control_image", ".png", "image/png")
    third_control_image = ("third_control_image", ".png", "image/png")
    upload = ("upload", ".png", "image/png")
    model = ("model", ".part", "application/octet-stream")  # a part of a model's file, in the order of their ids

    def __init__(self, label: str, suffix: str, media_type: str) -> None:
        self.label = label
        self.suffix = suffix
        self.media_type = media_type

    @classmethod
    def labelled(cls, label: str) -> AssetKind:
        return next(kind for kind in cls if kind.label == label)


FURTHER = (AssetKind.control_image, AssetKind.second_control_image, AssetKind.third_control_image)


@dataclass(frozen=True, slots=True)
class Asset:
    """One stored file. ``name`` is the last part of its public address; ``request_id`` shares the sequence of job ids."""

    id: int
    account_id: int
    request_id: int
    kind: AssetKind
    state: AssetState
    name: str
    blob_key: str
    size: int | None  # of what is stored, sealed
    created_at: datetime
    expires_at: datetime | None = None
    temp: bool = False  # an upload that is kept only to be used again


def shortest(*limits: float | None) -> float | None:
    """Of those that there are."""
    return min((limit for limit in limits if limit is not None), default=None)


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A picture that has passed every check: PNG bytes, upright, without metadata, RGB (or L for a mask)."""

    png: bytes
    width: int
    height: int
    sha256: str
