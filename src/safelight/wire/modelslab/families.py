"""The generations of the vendor's API: where each lives under /api/ and how it words its answers. Data only."""

from __future__ import annotations

from dataclasses import dataclass

SPEED = "for faster speed, keep resolution upto 512x512"
GIVEN = "Try to fetch request after given estimated time"
ESTIMATED = "Try to fetch request after seconds estimated"
BACKGROUND = "Your image is processing in background, you can get this image using fetch API"


@dataclass(frozen=True, slots=True)
class Family:
    """``fetch`` is where ``fetch_result`` points; ``says`` and ``fetch_says`` are the keys of its messages."""

    name: str
    fetch: str
    says: str = "messege"
    fetch_says: str = "message"
    waiting: str = GIVEN
    tip: str = SPEED
    whole_eta: bool = False  # its pages print whole seconds, and typed clients of it read nothing else
    tells_where: bool = False  # a second tip names the address to fetch from
    community: bool = True  # its meta is the long one of the v4..v6 pages
    cleared: str = "Cache cleared"


def _newer(name: str, cleared: str = "Cache cleared") -> Family:
    """One whose pages are of 2024 and later."""
    return Family(
        name,
        f"{name}/fetch",
        says="message",
        waiting=ESTIMATED,
        tip=BACKGROUND,
        whole_eta=True,
        cleared=cleared,
    )


V3 = Family("v3", "v3/fetch", community=False)
V3_DREAMBOOTH = Family("v3/dreambooth", "v3/dreambooth/fetch")
V4_DREAMBOOTH = Family("v4/dreambooth", "v3/dreambooth/fetch", fetch_says="messege")
V5 = Family("v5", "v5/images/fetch")
V6 = Family("v6", "v6/images/fetch", says="message")
V6_IMAGES = Family(
    "v6/images", "v6/images/fetch", fetch_says="messege", waiting=ESTIMATED, whole_eta=True, tells_where=True
)
V6_REALTIME = _newer("v6/realtime")
V6_EDITING = _newer("v6/image_editing")
V7_IMAGES = _newer("v7/images")
_CLEARED = "Cache cleared successfully"
ENTERPRISE = Family("v1/enterprise", "v1/enterprise/fetch", cleared=_CLEARED)
ENTERPRISE_TXT2IMG = Family("v1/enterprise/txt2img", "v1/enterprise/txt2img/fetch", cleared=_CLEARED)
ENTERPRISE_IMAGES = Family("v1/enterprise/images", "v1/enterprise/images/fetch", cleared=_CLEARED)
ENTERPRISE_REALTIME = _newer("v1/enterprise/realtime", _CLEARED)

FAMILIES = {
    family.name: family
    for family in (
        V3,
        V3_DREAMBOOTH,
        V4_DREAMBOOTH,
        V5,
        V6,
        V6_IMAGES,
        V6_REALTIME,
        V6_EDITING,
        V7_IMAGES,
        ENTERPRISE,
        ENTERPRISE_TXT2IMG,
        ENTERPRISE_IMAGES,
        ENTERPRISE_REALTIME,
    )
}
