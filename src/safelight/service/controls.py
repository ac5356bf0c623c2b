"""ControlNets that a picture may follow: which of those here are meant, and what is made of a picture for each kind.

Knows names alone; whether a ControlNet can be read and fits the checkpoint is the worker's to find out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from safelight.errors import Invalid
from safelight.settings import Settings

MOST = 3  # for one picture
PLAIN, INPAINT = "plain", "inpaint"  # a hint already; the picture, but for what is to be painted
NETWORKS = {  # the settings that name what draws them
    "depth": ("depth",),
    "segmentation": ("segmentation",),
    "pose": ("people", "pose"),
}
HINTS = {  # by the vendors' words, as the engine calls what is made of a picture
    "none": PLAIN,
    "qrcode": PLAIN,
    "canny": "canny",
    "hed": "softedge",
    "softedge": "softedge",
    "scribble": "scribble",
    "tile": "tile",
    "blur": "blur",
    "gray": "gray",
    "recolor": "gray",
    "inpaint": INPAINT,
    "depth": "depth",
    "segmentation": "segmentation",
    "seg": "segmentation",
    "openpose": "pose",
    "pose": "pose",
}


def known_controlnet(field: str, names: Sequence[str], known: Collection[str]) -> str:
    """The first of these names that is ``known``. Raises Invalid with those that are."""
    found = next((name for name in names if name in known), None)
    if found is None:
        listed = ", ".join(sorted(known)) or "there are none"
        raise Invalid(field, f"must name ControlNets of this server: {listed}")
    return found


def drawn_here(kind: str, settings: Settings) -> bool:
    """Whether this server makes hints of this kind."""
    return kind in HINTS and all(getattr(settings, name) is not None for name in NETWORKS.get(HINTS[kind], ()))


def hint_of(field: str, kind: str, instead: str, settings: Settings) -> str:
    """What is made of a picture for this kind. Raises Invalid for what a model would have to draw, with what to do ``instead``."""
    if not drawn_here(kind, settings):
        raise Invalid(field, f"{kind} is drawn by a model that this server does not have; {instead}")
    return HINTS[kind]
