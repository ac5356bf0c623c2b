"""Our records and errors in the JSON of AUTOMATIC1111's API: pictures with ``info``, progress, lists, errors. Knows no route."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from fastapi import Response

from safelight import __version__
from safelight.errors import Invalid, Unauthorized
from safelight.records import ImageRequest, Job, Standing
from safelight.settings import Settings
from safelight.wire.a1111.samplers import SAMPLERS, SCHEDULERS
from safelight.wire.http import answer, refusal_of

Json = dict[str, object]

PICTURES = ("init_images", "mask")  # are not sent back
OWN = "Automatic"  # the checkpoint's own autoencoder
_PAIR = re.compile(r'\s*([\w ()/.-]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
_NOTHING: Json = {"skipped": False, "interrupted": False, "stopping_generation": False, "job": "", "job_count": 0,
                  "job_timestamp": "0", "job_no": 0, "sampling_step": 0, "sampling_steps": 0}  # fmt: skip


def write_images(job: Job, request: ImageRequest, images: Sequence[str], form: Mapping[str, object]) -> Json:
    parameters = {name: None if name in PICTURES else value for name, value in form.items()}
    return {"images": list(images), "parameters": parameters, "info": json.dumps(write_info(job, request))}


def write_info(job: Job, request: ImageRequest) -> Json:
    """What was really drawn, under the names that the web UI has for it."""
    seeds, told = seeds_of(request), request.extras.get("prompt", request.prompt)
    count, model = len(seeds), model_of(job)
    return {
        "prompt": told,
        "all_prompts": [told] * count,
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": [request.negative_prompt] * count,
        "seed": request.seed,
        "all_seeds": seeds,
        "subseed": request.seed,
        "all_subseeds": seeds,
        "subseed_strength": 0,
        "width": _first_size(request)[0],
        "height": _first_size(request)[1],
        "sampler_name": request.extras.get("sampler"),
        "cfg_scale": request.guidance_scale,
        "steps": request.steps,
        "batch_size": count,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": model,
        "sd_model_hash": None,
        "sd_vae_name": request.vae,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": _strength(request),
        "extra_generation_params": {"Schedule type": str(request.extras.get("spacing", "")).title()},
        "index_of_first_image": 0,
        "infotexts": [write_text(job, request, seed) for seed in seeds],
        "styles": [],
        "job_timestamp": f"{job.created_at:%Y%m%d%H%M%S}",
        "clip_skip": request.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": f"safelight {__version__}",
    }


def _first_size(request: ImageRequest) -> tuple[int, int]:
    """Of a picture in two passes the web UI tells that of the first."""
    first = request.draft or request
    return first.width, first.height


def _strength(request: ImageRequest) -> float | None:
    """How much of a picture was drawn over, where there was one."""
    if request.draft:
        return request.draft.strength
    return request.strength if request.route == "img2img" else None


def write_text(job: Job, request: ImageRequest, seed: int) -> str:
    """The lines that the web UI writes into a picture, and that its tools read back."""
    pairs: dict[str, object] = {
        "Steps": request.steps,
        "Sampler": request.extras.get("sampler"),
        "Schedule type": str(request.extras.get("spacing", "")).title(),
        "CFG scale": request.guidance_scale,
        "Seed": seed,
        "Size": "{}x{}".format(*_first_size(request)),
        "Model": model_of(job),
    }
    if (strength := _strength(request)) is not None:
        pairs["Denoising strength"] = strength
    if draft := request.draft:
        pairs |= {"Hires resize": f"{request.width}x{request.height}", "Hires steps": draft.steps}
    if request.clip_skip > 1:
        pairs["Clip skip"] = request.clip_skip
    lines = [str(request.extras.get("prompt", request.prompt))]
    lines += [f"Negative prompt: {request.negative_prompt}"] if request.negative_prompt else []
    return "\n".join([*lines, ", ".join(f"{name}: {_quoted(value)}" for name, value in pairs.items())])


def read_text(text: str) -> Json:
    """The same lines as fields, as ``png-info`` gives them."""
    body, _, last = text.strip().rpartition("\n")
    if not last.startswith("Steps:"):
        return {"Prompt": text.strip()} if text.strip() else {}
    prompt, _, negative = body.partition("Negative prompt: ")
    return {
        "Prompt": prompt.strip(),
        "Negative prompt": negative.strip(),
        **{pair[1].strip(): pair[2].strip().strip('"') for pair in _PAIR.finditer(last)},
    }


def write_progress(standing: Standing | None, waiting: int, picture: str | None) -> Json:
    """Of the caller's own work; nothing of anybody else's shows."""
    if standing is None:
        return {"progress": 0.0, "eta_relative": 0.0, "state": _NOTHING, "current_image": None, "textinfo": None}
    job = standing.job
    state: Json = {
        "job": str(job.id),
        "job_count": waiting,
        "job_timestamp": f"{job.created_at:%Y%m%d%H%M%S}",
        "sampling_step": standing.step,
        "sampling_steps": standing.steps,
    }
    return {
        "progress": max(0.01, standing.step / max(standing.steps, 1)),  # 0 means that nothing is being made
        "eta_relative": standing.seconds_left,
        "state": _NOTHING | state,
        "current_image": picture,
        "textinfo": None,
    }


def write_options(default: str, given: Mapping[str, object]) -> Json:
    return {
        "sd_model_checkpoint": default,
        "sd_checkpoint_hash": "",
        "sd_vae": OWN,
        "CLIP_stop_at_last_layers": 1,
        "samples_format": "png",
        "show_progress_every_n_steps": 1,
    } | dict(given)


def write_samplers() -> list[Json]:
    return [{"name": each.name, "aliases": [], "options": _usual(each.usual)} for each in SAMPLERS]


def write_schedulers() -> list[Json]:
    more: Json = {"aliases": None, "default_rho": -1, "need_inner_model": False}
    return [{"name": name, "label": label, **more} for name, label in SCHEDULERS.items()]


def write_model(name: str) -> Json:
    return {"title": name, "model_name": name, "hash": None, "sha256": None, "filename": name, "config": None}


def write_upscalers(names: Iterable[str]) -> list[Json]:
    more: Json = {"model_name": None, "model_path": None, "model_url": None, "scale": 4.0}
    return [{"name": name, **more} for name in names]


def write_lora(name: str) -> Json:
    return {"name": name, "alias": name, "path": name, "metadata": {}}


def write_vae(name: str) -> Json:
    return {"model_name": name, "filename": name}


def write_modules(names: Sequence[str]) -> Json:
    """None of them has anything to set here."""
    detail: Json = {"model_free": False, "sliders": []}
    return {"module_list": list(names), "module_detail": dict.fromkeys(names, detail)}


def write_embeddings(names: Sequence[str]) -> Json:
    """Their vectors are known to the workers alone."""
    unknown: Json = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": 0, "vectors": 0}
    return {"loaded": dict.fromkeys(names, unknown), "skipped": {}}


def write_error(error: Exception, _path: str, _settings: Settings) -> Response:
    refusal = refusal_of(error)
    status = 422 if isinstance(error, Invalid) and refusal.status == 400 else refusal.status
    headers = refusal.headers | ({"WWW-Authenticate": "Basic"} if isinstance(error, Unauthorized) else {})
    said = refusal.sentence
    return answer({"error": type(error).__name__, "detail": said, "body": "", "errors": said}, status, headers)


def seeds_of(request: ImageRequest) -> list[int]:
    return [(request.seed + number) % 2**32 for number in range(request.samples)]


def model_of(job: Job) -> str:
    return job.model or "default"


def _usual(spacing: str | None) -> Json:
    return {"scheduler": spacing} if spacing not in (None, "default") else {}


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(letter in text for letter in ',:"\n') else text
