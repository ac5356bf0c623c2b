"""Bodies in the vendor's words become our records, with the dialect's defaults and limits. Fetches and runs nothing."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from safelight.errors import Invalid, NotFound
from safelight.records import FROM_NOISE, ImageRequest, Operation
from safelight.service.catalogue import DEFAULT_CHECKPOINT, Choice, known_names
from safelight.settings import Settings
from safelight.wire.forms import Form
from safelight.wire.keeping import read_keeping
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.schedulers import KARRAS, Scheduler, find_algorithm, find_scheduler
from safelight.wire.modelslab.without_effect import without_effect

Names = Mapping[str, int | None]  # each with the job that installed it, where one did
NONE: Names = MappingProxyType({})
COVERS = ("black", "blur", "pixelate", "sensitive_content_text")
MOST_PROMPT = 10_000
MOST_URL = 2_048
MOST_NAME = 200
MOST_TRACK_ID = 1_000
LAST_ID = 2**63 - 1
_COUNTED = {1: "one", 2: "two"}
_NEXT = re.compile(r",\s*(?=https?://|data:)", re.IGNORECASE)  # a data URI holds a comma of its own
KEPT = "strength 0 keeps the init image; nothing was painted."
_OFF = frozenset({"no", "none", "false", "0"})  # printed where no name is meant


class Known(NamedTuple):
    """What a request may name beside its checkpoint."""

    loras: Names = NONE
    embeddings: Names = NONE
    vaes: Names = NONE


NOTHING_KNOWN = Known()


def read_request(
    form: Form,
    operation: Operation,
    family: Family,
    settings: Settings,
    enhance: Callable[[str], str],
    checkpoint: Choice = DEFAULT_CHECKPOINT,
    known: Known = NOTHING_KNOWN,
) -> ImageRequest:
    """One generation, every default filled in and a random seed drawn. Raises Invalid naming the field and the rule.

    What is left out is as the checkpoint wants it, or as the vendor's page says where its card says nothing.
    """
    notes = [checkpoint.note] if checkpoint.note else []
    prompt = form.required("prompt", limit=MOST_PROMPT)
    enhanced = form.yes("enhance_prompt", True)
    steps = _read_steps(form, checkpoint.wants.steps, settings.max_steps, notes)
    scheduler = _read_scheduler(form, operation, settings, notes)
    loras = _read_loras(form, settings, known.loras, notes)
    vae = _read_vae(form, settings, checkpoint, known.vaes, notes)
    embeddings = _read_names(form, "embeddings_model", "embeddings", settings, known.embeddings, notes)
    return ImageRequest(
        operation=operation,
        prompt=enhance(prompt) if enhanced else prompt,
        negative_prompt=form.text("negative_prompt", limit=MOST_PROMPT),
        width=_read_side(form, "width", settings.max_side),
        height=_read_side(form, "height", settings.max_side),
        samples=form.whole("samples", 1, 1, 4),
        steps=steps,
        guidance_scale=form.real(form.either("guidance_scale", "guidance"), checkpoint.wants.guidance_scale, 1, 20),
        image_guidance_scale=form.real("image_guidance_scale", 1.5, 1, 20),
        true_cfg_scale=form.real("true_cfg_scale", 1.0, 0, 20),
        strength=1.0 if operation in FROM_NOISE else _read_strength(form, steps, notes),
        fit=settings.init_fit,
        seed=_read_seed(form, notes),
        model=checkpoint.model,
        installed=checkpoint.installed,
        vae=vae,
        installed_vae=known.vaes[vae] if vae else None,
        sampler=scheduler.name or None,
        spacing="karras" if scheduler.karras else "default",
        algorithm_type=scheduler.algorithm_type,
        loras=loras,
        installed_loras={name: job_id for name, _ in loras if (job_id := known.loras[name])},
        embeddings={name: job_id for name in embeddings if (job_id := known.embeddings[name])},
        clip_skip=form.whole("clip_skip", 1, 1, 8),
        safety_checker=form.yes("safety_checker", True),
        cover=_read_cover(form),
        enhance_prompt=enhanced,
        panorama=form.yes("panorama", False) and operation in (Operation.text2img, Operation.img2img),
        **read_delivery(form, family),
        extras=_read_extras(form, settings, embeddings),
        notes=tuple(notes),
        ignored=without_effect(form),
    )


def read_delivery(form: Form, family: Family) -> dict[str, Any]:
    """How the answer is to be given, whatever is asked."""
    return {
        "base64": form.yes("base64", False),
        "temp": form.yes("temp", False),
        **read_keeping(form),
        "instant_response": form.yes("instant_response", False),
        "webhook": read_webhook(form),
        "track_id": form.scalar("track_id", limit=MOST_TRACK_ID),
        "dialect": "modelslab",
        "route": family.name,
    }


def read_model(form: Form) -> str:
    """The name of a checkpoint, as apps send it: of this server, of a hosted one, or none."""
    return form.choice("model_id", limit=MOST_NAME)


def has_size(form: Form) -> bool:
    return any(form.whole(name, 0) for name in ("width", "height"))


def read_source(form: Form, name: str, settings: Settings) -> str:
    """A picture as it was given: an address, a data URI or base64."""
    if not form.has(name):
        raise Invalid(name, "is required")
    return Form({name: _one(form, name)}).required(name, limit=settings.max_body_bytes).strip()


def read_sources(form: Form, name: str, least: int, most: int) -> list[str]:
    """Several pictures: a list, or one text with commas between."""
    if not form.has(name):
        raise Invalid(name, "is required")
    told = form.fields[name]
    sources = told if isinstance(told, list) else _NEXT.split(str(told))
    if not least <= len(sources) <= most or not all(isinstance(each, str) and each.strip() for each in sources):
        raise Invalid(name, f"must be {_COUNTED[least]} to {most} pictures: a list, or addresses separated by commas")
    return [each.strip() for each in sources]


def read_picture_name(form: Form, name: str) -> str:
    """A file name or address; the base64 text of a picture has the picture's name but for its suffix."""
    return re.sub(r"\.base64(?=$|[?#])", ".png", form.required(name, limit=MOST_URL).strip())


def read_request_id(form: Form, name: str = "request_id") -> int:
    if not form.has(name):
        raise Invalid(name, "is required")
    return form.whole(name, 0, 1, LAST_ID)


def read_path_id(word: str) -> int:
    """An id in a path: what is no number names nothing."""
    if not (word.isascii() and word.isdecimal() and len(word) < 20 and 0 < int(word) <= LAST_ID):
        raise NotFound
    return int(word)


def _one(form: Form, name: str) -> object:
    """Some pages print a list where one picture is meant."""
    value = form.fields[name]
    if isinstance(value, list) and len(value) != 1:
        raise Invalid(name, f"must be one picture, not {len(value)}; only img_mixer and qwen_edit take several")
    return value[0] if isinstance(value, list) else value


def _read_cover(form: Form) -> str:
    word = form.choice("safety_checker_type", limit=MOST_NAME).lower() or COVERS[0]
    if word not in COVERS:
        raise Invalid("safety_checker_type", f"must be one of {', '.join(COVERS)}")
    return word


def _read_side(form: Form, name: str, most: int) -> int:
    side = form.whole(name, min(512, most), 64, most)
    if side % 8:
        raise Invalid(name, "must be divisible by 8")
    return side


def _read_steps(form: Form, usual: int, most: int, notes: list[str]) -> int:
    """What is above the most that is run here is cut to it, as the vendor does."""
    name = form.either("num_inference_steps", "steps")
    asked = form.whole(name, min(usual, most), 1)
    if asked > most:
        notes.append(f"{name} was cut from {asked} to {most}.")
    return min(asked, most)


def _read_strength(form: Form, steps: int, notes: list[str]) -> float:
    """0 keeps the init image; anything else that would run no step at all is raised until it runs one."""
    strength = form.real(form.either("strength", "prompt_strength"), 0.7, 0, 1)
    if strength == 0:
        notes.append(KEPT)
        return 0.0
    return strength if int(steps * strength) else math.nextafter(1 / steps, 1)


def _read_seed(form: Form, notes: list[str]) -> int:
    """Any whole number; generators take 32 bits of it."""
    given = form.whole("seed", -1)
    if given == -1:
        return secrets.randbits(32)
    seed = given % 2**32
    if seed != given:
        notes.append(f"seed {given} was taken modulo 4294967296, as {seed}.")
    return seed


def _read_scheduler(form: Form, operation: Operation, settings: Settings, notes: list[str]) -> Scheduler:
    chosen = Scheduler("")
    if word := form.choice("scheduler", limit=MOST_NAME):
        try:
            chosen, note = find_scheduler(word, from_picture=operation is not Operation.text2img)
        except Invalid:
            if settings.unknown_names == "refuse":
                raise
            note = f"scheduler {word} is not here; the checkpoint's own is used."
        notes += [note] if note else []
    algorithm = form.choice("algorithm_type", limit=MOST_NAME)
    return Scheduler(
        chosen.name,
        karras=form.yes("use_karras_sigmas", chosen.karras) and chosen.name in KARRAS,
        algorithm_type=find_algorithm(chosen.name, algorithm) if algorithm else chosen.algorithm_type,
    )


def _read_loras(form: Form, settings: Settings, known: Names, notes: list[str]) -> tuple[tuple[str, float], ...]:
    names = _names(form, "lora_model")
    given = str(form.scalar("lora_strength", limit=1_000) or "").split(",")
    strengths = [Form({"lora_strength": part}).real("lora_strength", 1.0, -2, 2) for part in given]
    if len(strengths) not in (1, len(names)) and names:
        raise Invalid("lora_strength", "must be one number, or as many as lora_model has names")
    kept, note = known_names("lora_model", "LoRAs", names, settings, known)
    notes += [note] if note else []
    each = zip(names, strengths * len(names) if len(strengths) == 1 else strengths, strict=False)
    return tuple((name, strength) for name, strength in each if name in kept)


def _read_names(
    form: Form, field: str, kinds: str, settings: Settings, known: Names, notes: list[str]
) -> tuple[str, ...]:
    names = [name for name in _names(form, field) if name.lower() not in _OFF]
    kept, note = known_names(field, kinds, names, settings, known)
    notes += [note] if note else []
    return kept


def _read_vae(form: Form, settings: Settings, checkpoint: Choice, known: Names, notes: list[str]) -> str | None:
    """A checkpoint's own is what ``meta`` shows by the checkpoint's name."""
    field = form.either("vae", "vae_model")
    name = form.choice(field, limit=MOST_NAME)
    if name.lower() in ("", *_OFF) or name in (checkpoint.model, settings.model):
        return None
    rule = "must name an autoencoder of this server"
    kept, note = known_names(field, "autoencoders", [name], settings, known, rule)
    notes += [note] if note else []
    return kept[0] if kept else None


def _names(form: Form, field: str) -> list[str]:
    return [name for part in form.text(field, limit=1_000).split(",") if (name := part.strip())]


def read_webhook(form: Form) -> str | None:
    address = form.address("webhook", limit=MOST_URL)
    if address and not _is_address(address):
        raise Invalid("webhook", "must be an http or https address")
    return address or None


def _read_extras(form: Form, settings: Settings, embeddings: Sequence[str]) -> dict[str, object]:
    """For ``meta`` alone: where the pictures came from, which words were meant, and the default checkpoint's name until the worker
    says its own.
    """
    given: dict[str, object] = {
        name: echoed_address(_one(form, name)) for name in ("init_image", "mask_image") if form.has(name)
    }
    given |= {"embeddings": ",".join(embeddings)} if embeddings else {}
    return given | ({"model": settings.model} if settings.model else {})


def echoed_address(source: object) -> str:
    """Of a picture as it was given: its address, nothing for inline pictures."""
    return source if isinstance(source, str) and len(source) <= MOST_URL and _is_address(source) else ""


def _is_address(word: str) -> bool:
    try:
        parts = urlsplit(word)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
