"""``highres_fix`` and ``upscale``: pictures in two passes, for the pages that make one from a prompt or from a picture alone."""

from __future__ import annotations

from dataclasses import replace

from safelight.errors import Invalid
from safelight.records import Draft, ImageRequest, Operation
from safelight.wire.forms import Form

FIXED, ENLARGED = 0.7, 0.35  # how much is drawn over where the size is as asked, and where it is more
FACTORS = {"": 1, "no": 1, "false": 1, "0": 1, "1": 1, "yes": 2, "true": 2, "2": 2, "3": 3}
_ABLE = (Operation.text2img, Operation.img2img)


def in_passes(request: ImageRequest, form: Form, most: int) -> ImageRequest:
    """``most`` is the longest side in pixels. What is left out, or cut short, is noted. Raises Invalid."""
    factor, fixed = _factor(form), form.yes("highres_fix", False)
    if factor == 1 and not fixed:
        return request
    if request.operation not in _ABLE:
        return _noted(request, "highres_fix and upscale are not for pictures of this kind: it is made in one pass.")
    if factor * max(request.width, request.height) > most:
        factor, request = 1, _noted(request, f"upscale was left out: no side may be longer than {most} pixels.")
    if factor == 1 and not fixed:
        return request
    strength = FIXED if factor == 1 else ENLARGED
    draft = Draft(request.width, request.height, request.steps, strength, modest=fixed)
    return replace(request, width=factor * request.width, height=factor * request.height, draft=draft)


def _factor(form: Form) -> int:
    asked = str(form.fields.get("upscale") or "").strip().lower()
    if asked not in FACTORS:
        raise Invalid("upscale", "must be yes, no, 1, 2 or 3")
    return FACTORS[asked]


def _noted(request: ImageRequest, note: str) -> ImageRequest:
    return replace(request, notes=(*request.notes, note))
