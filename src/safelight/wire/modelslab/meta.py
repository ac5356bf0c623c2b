"""The echo of a request in the vendor's words: ``meta``. Says what was really run, under every name that a page of the family prints.

What this server does not do is told as off (``"no"``, null), whatever was asked for. Knows no envelope and no error.
"""

from __future__ import annotations

from collections.abc import Sequence

from safelight.records import ImageRequest, Job, JobRequest, Operation
from safelight.wire.modelslab.families import V6_IMAGES, Family

Json = dict[str, object]

OFF: Json = {
    "enhance_style": None,
    "full_url": "no",
    "ip_adapter_id": None,
    "ip_adapter_image": None,
    "ip_adapter_scale": 0.6,
    "multi_lingual": "no",
    "panorama": "no",
    "self_attention": "no",
    "tomesd": "no",
    "upscale": "no",
}
MARK_OFF: Json = {
    "opacity": 0.7,
    "padding_down": 10,
    "padding_right": 10,
    "pag_scale": 0.2,
    "watermark": "no",
    "rescale": "no",
    "scale_down": 6,
}


def write_meta(job: Job, family: Family, urls: Sequence[str]) -> Json:
    """The short echo of the v3 pages, or the long one of the others."""
    request = job.request
    if not isinstance(request, ImageRequest):
        return MARK_OFF | _delivery(job, request, urls) | _of_the_page(request) if request else {}
    short = _short(job, request)
    return short | _long(job, request, urls) if family.community else short


def write_whole_meta(job: Job, urls: Sequence[str]) -> Json:
    """Everything that any page shows, whatever the family."""
    request = job.request
    short = _short(job, request) if isinstance(request, ImageRequest) else {}
    return write_meta(job, V6_IMAGES, urls) | short


def _short(job: Job, request: ImageRequest) -> Json:
    meta: Json = {
        "H": request.height,
        "W": request.width,
        "enable_attention_slicing": "true",
        "file_prefix": job.file_prefix,
        "guidance_scale": request.guidance_scale,
        "model": _model(job),
        "n_samples": request.samples,
        "negative_prompt": request.negative_prompt,
        "outdir": "out",
        "prompt": request.prompt,
        "revision": "main",
        "safety_checker": "yes" if request.safety_checker else "none",
        "safetychecker": _yes(request.safety_checker),
        "seed": request.seed,
        "steps": job.steps or request.steps,
        "vae": request.vae or _model(job),
    }
    if request.operation is not Operation.text2img:
        meta |= {"strength": request.strength, "init_image": request.extras.get("init_image", "")}
    if request.operation is Operation.pix2pix:
        meta["image_guidance_scale"] = request.image_guidance_scale
    if request.operation is Operation.inpaint:
        meta["mask_image"] = request.extras.get("mask_image", "")
    return meta if job.native_size is None else meta | {"native_size": list(job.native_size)}


def _long(job: Job, request: ImageRequest, urls: Sequence[str]) -> Json:
    return (
        OFF
        | MARK_OFF
        | _loras(request)
        | _delivery(job, request, urls)
        | {
            "embeddings": request.extras.get("embeddings"),
            "width": request.width,
            "height": request.height,
            "model_id": _model(job),
            "num_inference_steps": job.steps or request.steps,
            "scheduler": f"{request.sampler}Scheduler" if request.sampler else "",
            "safety_checker": _yes(request.safety_checker),
            "safety_checker_type": request.cover,
            "use_karras_sigmas": _yes(request.spacing == "karras"),
            "algorithm_type": request.algorithm_type or "no",
            "clip_skip": request.clip_skip,
            "panorama": _yes(request.panorama),
            **_passes(request),
            "enhance_prompt": _yes(request.enhance_prompt),
        }
        | _of_the_page(request)
    )


def _delivery(job: Job, request: JobRequest, urls: Sequence[str]) -> Json:
    return {
        "id": str(job.id),
        "file_prefix": job.file_prefix,
        "outdir": "out",
        "instant_response": _yes(request.instant_response),
        "base64": _yes(request.base64),
        "temp": _yes(request.temp),
        "webhook": request.webhook,
        "track_id": request.track_id,
        "output": list(urls),
    }


def _of_the_page(request: JobRequest) -> Json:
    """What an editing page echoes beside the rest."""
    echo = request.extras.get("echo")
    return dict(echo) if isinstance(echo, dict) else {}


def _passes(request: ImageRequest) -> Json:
    if request.draft is None:
        return {}
    larger = request.draft.width < request.width
    return {"upscale": _yes(larger), "highres_fix": _yes(request.draft.modest)}


def _loras(request: ImageRequest) -> Json:
    names = ",".join(name for name, _ in request.loras) or None
    strengths = ",".join(f"{strength:g}" for _, strength in request.loras) or 1
    return {"lora": names, "lora_model": names, "lora_strength": strengths}


def _model(job: Job) -> str:
    """The one that was used; until that is known, the one that will be."""
    request = job.request
    asked = request.model or request.extras.get("model") if isinstance(request, ImageRequest) else None
    return job.model or str(asked or "default")


def _yes(value: bool) -> str:
    return "yes" if value else "no"
