"""The generations of the vendor's API: where each lives under /api/ and how it words its answers. Data only."""

from __future__ import annotations

from dataclasses import dataclass

SPEED = "for faster speed, keep resolution upto 512x512"
BACKGROUND = "Your image is processing in background, you can get this image using fetch API"


@dataclass(frozen=True, slots=True)
class Family:
    """``fetch`` is where ``fetch_result`` points; ``says`` and ``fetch_says`` are the keys of its messages."""

    name: str
    fetch: str
    says: str = "messege"
    fetch_says: str = "message"
    waiting: str = "Try to fetch request after given estimated time"
    tip: str = SPEED
    community: bool = True  # its meta is the long one of the v4..v6 pages
    cleared: str = "Cache cleared"


V3 = Family("v3", "v3/fetch", community=False)
V3_DREAMBOOTH = Family("v3/dreambooth", "v3/dreambooth/fetch")
V4_DREAMBOOTH = Family("v4/dreambooth", "v3/dreambooth/fetch")
V5 = Family("v5", "v5/images/fetch")
V6 = Family("v6", "v6/images/fetch", says="message")
V6_IMAGES = Family(
    "v6/images", "v6/images/fetch", fetch_says="messege", waiting="Try to fetch request after seconds estimated"
)
V6_REALTIME = Family("v6/realtime", "v6/realtime/fetch", says="message", tip=BACKGROUND)
V6_EDITING = Family("v6/image_editing", "v6/image_editing/fetch", says="message", tip=BACKGROUND)
V7_IMAGES = Family("v7/images", "v7/images/fetch", says="message", tip=BACKGROUND)
_CLEARED = "Cache cleared successfully"
ENTERPRISE = Family("v1/enterprise", "v1/enterprise/fetch", cleared=_CLEARED)
ENTERPRISE_TXT2IMG = Family("v1/enterprise/txt2img", "v1/enterprise/txt2img/fetch", cleared=_CLEARED)
ENTERPRISE_IMAGES = Family("v1/enterprise/images", "v1/enterprise/images/fetch", cleared=_CLEARED)
ENTERPRISE_REALTIME = Family(
    "v1/enterprise/realtime", "v1/enterprise/realtime/fetch", says="message", tip=BACKGROUND, cleared=_CLEARED
)

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
