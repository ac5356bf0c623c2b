"""What a person just did as a program would ask for it: the lines for a shell and for Python, by the API's plainest endpoint.

The key stays a variable: a page that shows it would be one more place where it can be read.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from safelight.records import FROM_NOISE, ImageRequest, Operation

_FILES = {
    Operation.text2img: {},
    Operation.img2img: {"init_image": "init.png"},
    Operation.inpaint: {"init_image": "init.png", "mask_image": "mask.png"},
    Operation.pix2pix: {"init_image": "init.png"},
    Operation.depth2img: {"init_image": "init.png"},
    Operation.edit: {"init_image": "init.png"},
}
_PAGES = {  # of those that have none under v3
    Operation.pix2pix: "v5/pix2pix",
    Operation.depth2img: "v5/depth2img",
    Operation.edit: "v6/image_editing/qwen_edit",
}


@dataclass(frozen=True, slots=True)
class Example:
    """Both make the same picture. ``files`` are those that they expect to lie where they run."""

    curl: str
    python: str
    files: tuple[str, ...]


def example_of(request: ImageRequest, base_url: str) -> Example:
    address = f"{base_url}/api/{_PAGES.get(request.operation, f'v3/{request.operation.value}')}"
    fields, files = _fields(request), _FILES[request.operation]
    return Example(_curl(address, fields, files), _python(address, fields, files), tuple(files.values()))


def _fields(request: ImageRequest) -> dict[str, object]:
    """Only what is not the endpoint's own default or has to be said to get the same picture."""
    said: dict[str, object] = {"prompt": request.prompt}
    optional: dict[str, object] = {
        "negative_prompt": request.negative_prompt,
        "model_id": request.model,
        "scheduler": request.sampler,
        "algorithm_type": request.algorithm_type,
        "lora_model": ",".join(name for name, _ in request.loras),
        "lora_strength": ",".join(f"{strength:g}" for _, strength in request.loras),
    }
    said |= {name: value for name, value in optional.items() if value}
    if request.spacing == "karras":
        said["use_karras_sigmas"] = "yes"
    if request.operation not in FROM_NOISE:
        said["strength"] = request.strength
    if request.operation is Operation.pix2pix:
        said["image_guidance_scale"] = request.image_guidance_scale
    return said | {
        "width": request.width,
        "height": request.height,
        "samples": request.samples,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "seed": request.seed,
        "safety_checker": "yes" if request.safety_checker else "no",
        "enhance_prompt": "no",
    }


def _curl(address: str, fields: Mapping[str, object], files: Mapping[str, str]) -> str:
    """Pictures are too long for a command line, so with them the fields go as a form."""
    if not files:
        body = shlex.quote(json.dumps(fields, ensure_ascii=False))
        return (
            f'curl -s {shlex.quote(address)} -H "Authorization: Bearer $KEY" '
            f"-H 'Content-Type: application/json' \\\n  -d {body}"
        )
    lines = [f'curl -s {shlex.quote(address)} -H "Authorization: Bearer $KEY"']
    lines += [f"--form-string {shlex.quote(f'{name}={value}')}" for name, value in fields.items()]
    lines += [f"-F {name}='<'<(base64 < {file})" for name, file in files.items()]
    return " \\\n  ".join(lines)


def _python(address: str, fields: Mapping[str, object], files: Mapping[str, str]) -> str:
    head = ["import base64"] if files else []
    head += ["import os", "", "import httpx", ""]
    body = [f"    {name!r}: {value!r}," for name, value in fields.items()]
    body += [f'    {name!r}: base64.b64encode(open({file!r}, "rb").read()).decode(),' for name, file in files.items()]
    call = f'made = httpx.post({address!r}, json={{**asked, "key": os.environ["KEY"]}}, timeout=60).json()'
    return "\n".join([*head, "asked = {", *body, "}", call, 'print(made["output"])'])
