"""Prompt enhancement: a few words of quality and style, appended. Pure, deterministic, offline, and gentle.

Only words that the prompt does not hold already are added, at its end, so that what the caller asked for comes first; a
model that never learned them is hardly moved. Nothing is ever added to a negative prompt unless the caller asks.
"""

from __future__ import annotations

from safelight.errors import Invalid

QUALITY = ("highly detailed", "sharp focus")
STYLES: dict[str, tuple[str, ...]] = {
    "anime": ("anime style", "clean lines", "vivid colors"),
    "cinematic": ("cinematic lighting", "film still", "shallow depth of field"),
    "digital-art": ("digital painting", "smooth shading", "vivid colors"),
    "fantasy": ("fantasy art", "dramatic lighting", "intricate"),
    "photo": ("photograph", "natural light", "realistic"),
    "watercolor": ("watercolor painting", "soft edges", "paper texture"),
}
NEGATIVE = ("lowres", "blurry", "jpeg artifacts", "watermark", "text", "deformed", "bad anatomy")
MAX_WORDS = 60  # CLIP reads 77 tokens and drops the rest; a longer prompt is left as it is


def enhance(prompt: str, style: str | None = None) -> str:
    """The prompt that is really used. ``style`` is one of STYLES."""
    if style is not None and style not in STYLES:
        raise Invalid("enhance_style", f"must be one of: {', '.join(STYLES)}")
    return _append(prompt, (STYLES[style] if style else ()) + QUALITY)


def default_negative(negative_prompt: str = "") -> str:
    """The vendor's usual negative words after the caller's own; for those who ask for them."""
    return _append(negative_prompt, NEGATIVE)


def _append(prompt: str, words: tuple[str, ...]) -> str:
    prompt = prompt.strip().rstrip(",")
    if len(prompt.split()) > MAX_WORDS:
        return prompt
    return ", ".join(filter(None, (prompt, *(word for word in words if word not in prompt.lower()))))
