"""Documented endpoints that this server does not have, by what is missing. They answer 501 with a sentence that says so.

Data and a look-up. Whatever moves into one of the tables leaves this list: a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from safelight.wire.absence import Absence

VIDEO = Absence("video", "This server makes pictures and no video; it has no engine for that.")
VOICE = Absence("voice", "This server makes pictures and no sound; it has no engine for that.")
MESH = Absence("3d", "This server makes pictures and no 3D models; it has no engine for that.")
FACES = Absence("faces", "This server does not exchange or make faces; it has no model for that.")
CHAT = Absence(
    "chat",
    "This server holds no language model. Its operator can name one to hand chats on to: SAFELIGHT_CHAT_URL.",
)
TRAINING = Absence(
    "training",
    "This server does not train. Train elsewhere, then let the operator add the result with SAFELIGHT_LORAS or SAFELIGHT_MODELS.",
)
EDITING = Absence("editing", "This server has no such editing model yet. img2img and inpaint change pictures here.")
CONTROL = Absence(
    "controlnet",
    "This server has no ControlNets. Its operator can add some: SAFELIGHT_CONTROLNETS. img2img with a low strength follows a picture too.",
)
SIGNING_UP = Absence(
    "sign-up", "Accounts and keys of this server are made by its operator: `safelight keys create NAME`."
)
PAYING = Absence("payments", "This server takes no payments itself. Its operator grants credits.")
TEAMS = Absence(
    "teams", "This server has accounts and no teams. Its operator makes an account with a key for each member."
)
WORKFLOWS = Absence("workflows", "This server runs no workflows. Chain its endpoints by webhook instead.")
INSTALLING = Absence(
    "model upload",
    "That is not installed through the API. This server's operator adds checkpoints with SAFELIGHT_MODELS and LoRAs with SAFELIGHT_LORAS.",
)
UPDATING = Absence("updating", "This server is updated by its operator with pip, not through the API.")
STORING = Absence(
    "own storage", "Where pictures rest is the operator's setting SAFELIGHT_BLOB_URL, not part of the API."
)


def find(path: str) -> tuple[str, Absence] | None:
    """The template that a path under /api/ fits, and what is missing there."""
    asked = path.removeprefix("/api/").strip("/")
    template = asked if asked in ABSENT else next((one for one, shape in _SHAPES if shape.fullmatch(asked)), None)
    return None if template is None else (template, ABSENT[template])


def _each(absence: Absence, *groups: tuple[str, str]) -> Iterator[tuple[str, Absence]]:
    """Of a prefix and the names under it."""
    for prefix, names in groups:
        for name in names.split():
            yield f"{prefix}/{name}", absence


_ENTERPRISE = "v1/enterprise"

ABSENT: dict[str, Absence] = dict(
    [
        *_each(
            VIDEO,
            ("v4/dreambooth", "text2video"),
            ("v5", "text2video"),
            (
                "v6/video",
                "text2video text2video_ultra img2video img2video_ultra video2video scene_maker watermark_remover",
            ),
            (_ENTERPRISE, "text2video video/text2video video/img2video ultra_video/text2video"),
            (_ENTERPRISE, "image_to_video_ultra/img2video"),
            (f"{_ENTERPRISE}/video", "watermark_remover"),
            ("v7/video-fusion", "text-to-video image-to-video video-to-video lip-sync motion-control"),
        ),
        *_each(
            VOICE,
            ("v5", "text_to_audio text_to_voice"),
            (
                "v6/voice",
                "text_to_audio text_to_speech voice_to_voice voice_cover music_gen sfx song_generator speech_to_text",
            ),
            ("v6/voice", "lyrics_generator voice_upload voice_list vocal_isolator create_dubbing voice_design"),
            (
                f"{_ENTERPRISE}/voice",
                "music_gen sfx speech_to_text text_to_audio voice_cover voice_to_voice voice_upload",
            ),
            (_ENTERPRISE, "speech_to_text/transcribe text_to_speech/make"),
            (f"{_ENTERPRISE}/voice", "text_to_speech song_generator lyrics_generator"),
            ("v7/voice", "text-to-speech speech-to-text speech-to-speech music-gen sound-generation create-dubbing"),
            ("v7/voice", "song-extender song-inpaint"),
        ),
        *_each(
            MESH,
            ("v3", "txt_to_3d img_to_3d"),
            ("v6/3d", "text_to_3d image_to_3d"),
            (f"{_ENTERPRISE}/3d", "text_to_3d image_to_3d"),
        ),
        *_each(
            FACES,
            ("v6/deepfake", "single_face_swap multiple_face_swap single_video_swap specific_video_swap"),
            ("v6/faceswap", "single_face_swap multiple_face_swap single_video_swap specific_video_swap"),
            (f"{_ENTERPRISE}/deepfake", "single_face_swap multiple_face_swap single_video_swap specific_video_swap"),
            (f"{_ENTERPRISE}/faceswap", "single_face_swap multiple_face_swap single_video_swap specific_video_swap"),
            ("v6/image_editing", "face_gen head_shot flux_headshot"),
            (f"{_ENTERPRISE}/image_editing", "face_gen head_shot flux_headshot"),
            (_ENTERPRISE, "face_gen/make_gen flux_headshot/make_gen"),
        ),
        *_each(CHAT, ("v7/llm/v1", "messages messages/count_tokens"), (_ENTERPRISE, "deepseek_chat/start")),
        *_each(
            TRAINING,
            (
                "v3",
                "fine_tune fine_tune_v2 lora_fine_tune fine_tune_status/{id} cancle_training/{id} cancel_training/{id}",
            ),
            ("v3", "finetune/delete/{id}"),
            ("sandbox/v3", "fine_tune fine_tune_status/{id}"),
        ),
        *_each(
            EDITING,
            ("v5", "outpaint mixture_canvas multiview blip_diffusion"),
        ),
        *_each(
            SIGNING_UP,
            ("agents/v1/auth", "signup login logout logout-all refresh verify-email resend-verification"),
            ("agents/v1/auth", "forgot-password reset-password"),
        ),
        *_each(
            PAYING,
            ("agents/v1/billing", "info invoices invoices/{id} invoices/{id}/pdf payment-link payment-methods"),
            ("agents/v1/billing", "payment-methods/{id} payment-methods/{id}/default setup-intent stripe-config"),
            ("agents/v1/wallet", "auto-funding confirm-checkout coupons/redeem coupons/validate withdraw"),
            ("agents/v1", "payments/{id}/status"),
            ("agents/v1/subscriptions", "confirm-checkout {id}/pause {id}/resume {id}/reset-cycle"),
        ),
        *_each(
            TEAMS,
            ("agents/v1", "teams teams/{id} teams/{id}/resend-invite teams/invitations/{id}/accept me/preferences"),
        ),
        *_each(
            WORKFLOWS,
            (
                "v1",
                "workflows workflows/{id} workflows/{id}/run workflows/{id}/runs/{id} workflows/{id}/runs/{id}/cancel",
            ),
        ),
        *_each(STORING, (_ENTERPRISE, "update_s3 reset_s3")),
    ]
)

_SHAPES = [(path, re.compile(re.escape(path).replace(r"\{id\}", "[^/]+"))) for path in ABSENT if "{id}" in path]
