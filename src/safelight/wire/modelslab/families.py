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
    twofold: bool = False  # its pages changed the names of message and tip: both are sent
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
    "v6/images", "v6/images/fetch", fetch_says="messege", waiting=ESTIMATED, whole_eta=True, twofold=True
)
V6_REALTIME = _newer("v6/realtime")
V6_EDITING = _newer("v6/image_editing")
V7_IMAGES = _newer("v7/images")
_CLEARED = "Cache cleared successfully"
AGENTS = Family("agents/v1", "", says="message")
ENTERPRISE = Family("v1/enterprise", "v1/enterprise/fetch", fetch_says="messege", cleared=_CLEARED)


_SERVERS = (
    "3d",
    "deepfake",
    "deepseek_chat",
    "face_gen",
    "faceswap",
    "flux",
    "flux_headshot",
    "flux_klein",
    "flux_kontext_dev",
    "image_editing",
    "image_to_video_ultra",
    "interior",
    "qwen",
    "realtime",
    "speech_to_text",
    "super-resolution",
    "super_resolution",
    "text-to-video-ultra",
    "text_to_speech",
    "ultra_video",
    "uncensored-chat",
    "uncensored_chat",
    "video",
    "voice",
    "voice-cloning",
    "z_image_turbo",
)
SERVERS = {  # by the word in their paths; two word their answers as the older pages do
    "txt2img": Family("v1/enterprise/txt2img", "v1/enterprise/txt2img/fetch", cleared=_CLEARED),
    "images": Family("v1/enterprise/images", "v1/enterprise/images/fetch", cleared=_CLEARED),
} | {name: _newer(f"v1/enterprise/{name}", _CLEARED) for name in _SERVERS}
_FETCHED = (
    "v6/3d",
    "v6/deepfake",
    "v6/faceswap",
    "v6/fashion",
    "v6/interior",
    "v6/video",
    "v6/voice",
    "v6/whisper",
    "v7/video-fusion",
    "v7/voice",
)
FETCHED = tuple(map(_newer, _FETCHED))  # nothing of theirs is made here yet, and nothing can be found there

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
        *SERVERS.values(),
        *FETCHED,
    )
}
