"""Bodies in the words of OpenAI's Images API become our records. Fetches and runs nothing; decides by the fields alone."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from safelight.errors import Invalid
from safelight.records import FROM_NOISE, Bitmap, ImageRequest, Operation
from safelight.service.catalogue import Choice
from safelight.settings import Settings
from safelight.wire.forms import Form
from safelight.wire.keeping import NONE, STORE, read_keeping, read_store

MOST_PROMPT = 32_000
MOST_WORD = 200
MOST_PICTURES = 10
MOST_PARTIAL = 3
USUAL_SIDE = 512
VARIED, EDITED, FAITHFUL = 0.6, 0.75, 0.5  # strengths: of a variation, an edit, and an edit with input_fidelity high
STEPS = {"low": 10, "auto": 20, "medium": 20, "standard": 20, "high": 30, "hd": 30, "xhigh": 40, "max": 50}
FORMATS = ("png", "jpeg", "webp")

Kind = Literal["generations", "edits", "variations"]
_OURS = frozenset(
    {"expires_in", "guidance_scale", "negative_prompt", "sampler", "seed", "steps", "store", "strength"}
)  # beyond OpenAI's own
_COMMON = frozenset({"model", "n", "response_format", "safety_identifier", "size", "user"}) | _OURS
_RENDERED = frozenset(
    {"background", "moderation", "output_compression", "output_format", "partial_images", "prompt", "quality", "stream"}
)
KNOWN: Mapping[Kind, frozenset[str]] = {
    "generations": _COMMON | _RENDERED | {"style"},
    "edits": _COMMON | _RENDERED | {"image", "images", "input_fidelity", "mask"},
    "variations": _COMMON | {"image"},
}
ELSEWHERE = frozenset({"complexity", "frame_count", "frame_duration_ms", "markup", "svg"})  # only OpenAI's models have
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


class UnknownParameter(Invalid):
    """A field that the endpoint does not have."""

    def __init__(self, field: str) -> None:
        super().__init__(field, "is not known")
        self.message = f"Unknown parameter: '{field}'."


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the answer is to look."""

    inline: bool
    format: Literal["png", "jpeg", "webp"]
    compression: int
    quality: str
    stream: bool
    partials: int


def check_names(form: Form, kind: Kind) -> None:
    """Every name is known, or the caller hears which is not."""
    for name, value in form.fields.items():
        plain = name.removesuffix("[]")
        if plain.partition("[")[0] in ELSEWHERE:
            if value is not None:
                raise Invalid(plain, "is not supported by this server")
        elif plain not in KNOWN[kind]:
            raise UnknownParameter(name)


def read_wanted(form: Form) -> Wanted:
    """Models of OpenAI's that always answer inline are taken at their word, whatever draws the picture here."""
    stream = form.yes("stream", False)
    given = _one_of(form, "response_format", ("url", "b64_json"), "")
    output = _one_of(form, "output_format", FORMATS, "png")
    if given == "url" and output != "png":
        raise Invalid("response_format", f"must be b64_json for {output}: addresses lead to PNG files")
    stored = read_store(form)
    if given == "url" and not stored:
        raise Invalid("response_format", f"must be b64_json with {STORE} {NONE}: nothing is kept at an address")
    newer = read_model(form).startswith(("gpt-image", "chatgpt-image"))
    if _one_of(form, "background", ("transparent", "opaque", "auto"), "auto") == "transparent":
        raise Invalid("background", "must be opaque or auto: pictures made here have no transparent parts")
    return Wanted(
        inline=stream or not stored or given == "b64_json" or (not given and (newer or output != "png")),
        format=output,  # type: ignore[arg-type]  # one of FORMATS
        compression=form.whole("output_compression", 100, 0, 100),
        quality=_one_of(form, "quality", tuple(STEPS), "auto"),
        stream=stream,
        partials=form.whole("partial_images", 0, 0, MOST_PARTIAL),
    )


def read_request(
    form: Form, kind: Kind, settings: Settings, choice: Choice, init: Bitmap | None = None, *, masked: bool
) -> ImageRequest:
    """One generation, every default filled in and a random seed drawn. Raises Invalid naming the field and the rule."""
    _one_of(form, "style", ("vivid", "natural"), "natural")
    fidelity = _one_of(form, "input_fidelity", ("high", "low"), "low")
    usual = VARIED if kind == "variations" else FAITHFUL if fidelity == "high" else EDITED
    width, height = read_size(form, settings, init)
    edited = kind == "edits" and init is not None and not masked and choice.wants.pictures > 0
    plain = Operation.text2img if init is None else Operation.inpaint if masked else Operation.img2img
    operation = Operation.edit if edited else plain
    steps = STEPS[form.text("quality", limit=MOST_WORD, default="auto")]
    return ImageRequest(
        operation=operation,
        prompt="" if kind == "variations" else form.required("prompt", limit=MOST_PROMPT),
        negative_prompt=form.text("negative_prompt", limit=MOST_PROMPT),
        width=width,
        height=height,
        samples=form.whole("n", 1, 1, MOST_PICTURES),
        steps=form.whole("steps", min(steps, settings.max_steps), 1, settings.max_steps),
        guidance_scale=form.real("guidance_scale", choice.wants.guidance_scale, 1, 20),
        strength=1.0 if operation in FROM_NOISE else form.real("strength", 1.0 if masked else usual, 0.05, 1),
        fit=settings.init_fit,
        seed=form.whole("seed", secrets.randbits(32), 0, 2**32 - 1),
        model=choice.model,
        installed=choice.installed,
        sampler=form.text("sampler", limit=MOST_WORD) or None,
        safety_checker=_one_of(form, "moderation", ("low", "auto"), "auto") == "auto",
        track_id=form.text("safety_identifier", limit=MOST_WORD) or form.text("user", limit=MOST_WORD) or None,
        **read_keeping(form),
        dialect="openai",
        route=kind,
        notes=(choice.note,) if choice.note else (),
    )


def unread(given: int, used: int) -> str:
    """A sentence where there are more pictures than are used."""
    if given <= used:
        return ""
    one = "Of several pictures the first is edited; the others are not read."
    return one if used == 1 else f"Of {given} pictures the first {used} are used; the others are not read."


def read_model(form: Form) -> str:
    return form.text("model", limit=MOST_WORD)


def read_size(form: Form, settings: Settings, init: Bitmap | None) -> tuple[int, int]:
    word = form.text("size", limit=MOST_WORD, default="auto").strip().lower()
    if word == "auto":
        usual = min(USUAL_SIDE, settings.max_side)
        return (usual, usual) if init is None else fitted(init.width, init.height, settings.max_side)
    found = _SIZE.fullmatch(word)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not found or width % 8 or height % 8 or not 64 <= min(width, height) <= max(width, height) <= settings.max_side:
        raise Invalid("size", f"must be auto or WIDTHxHEIGHT, sides of 64 to {settings.max_side}, divisible by 8")
    return width, height


def fitted(width: int, height: int, most: int) -> tuple[int, int]:
    """The same proportions within the limits, in multiples of 8."""
    scale = min(1.0, most / max(width, height))
    return tuple(min(most // 8 * 8, max(64, round(side * scale / 8) * 8)) for side in (width, height))  # type: ignore[return-value]


def read_sources(form: Form, name: str, limit: int) -> list[str]:
    """Pictures in a JSON body: addresses or data URIs, bare or as ``{"image_url": ...}``."""
    given = form.fields.get(name)
    listed = given if isinstance(given, list) else [] if given in (None, "") else [given]
    return [_source(each, name, limit) for each in listed]


def _source(given: object, name: str, limit: int) -> str:
    if isinstance(given, dict):
        given = given.get("image_url")
    if not isinstance(given, str) or not given.strip() or len(given) > limit:
        raise Invalid(name, "must be a picture: a file in multipart/form-data, or an address or data URI as image_url")
    return given.strip()


def _one_of(form: Form, name: str, words: tuple[str, ...], default: str) -> str:
    word = form.text(name, limit=MOST_WORD, default=default).strip().lower()
    if word and word not in words:
        raise Invalid(name, f"must be one of {', '.join(words)}")
    return word
