"""Every field that the making of pictures accepts shows in their bytes, or is listed as one that says something else, or as without effect.

The engine here paints what it is told, so this is about what reaches it; that each number means what it should is the engine's own tests'.

The lists are computed: a field that is added to the tables, or to the vendors' examples, fails here until it is in one of them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import numpy as np
import pytest

from safelight.engine.images import encode
from safelight.wire.modelslab import images
from safelight.wire.modelslab.routes import TABLE
from safelight.wire.modelslab.without_effect import FIELDS
from tests.wire.examples import examples
from tests.wire.site import Json, Site


def picture(left: int, right: int) -> str:
    pixels = np.full((64, 64, 3), left, np.uint8)
    pixels[:, 32:] = right
    return "data:image/png;base64," + base64.b64encode(encode(pixels)).decode()


PLAIN: Json = {
    "prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 4, "seed": 1, "safety_checker": "no",
    "enhance_prompt": "no", "scheduler": "DPMSolverMultistepScheduler",
}  # fmt: skip
FROM_PICTURE: Json = PLAIN | {"init_image": picture(40, 200), "strength": 0.5}
NAKED: Json = PLAIN | {"prompt": "nude"}
MASKED: Json = FROM_PICTURE | {"mask_image": picture(0, 255)}
CHANGED: dict[str, object] = {
    "prompt": "a red dog", "negative_prompt": "dog", "width": 72, "height": 72, "samples": 2, "num_inference_steps": 5,
    "guidance_scale": 3, "seed": 2, "scheduler": "DDIMScheduler", "use_karras_sigmas": "yes",
    "algorithm_type": "sde-dpmsolver++", "clip_skip": 2, "model_id": "other", "lora_model": "ink", "vae": "soft",
    "enhance_prompt": "yes", "highres_fix": "yes", "upscale": "yes", "panorama": "yes",
}  # fmt: skip
BESIDE: dict[str, tuple[str, Json, Json]] = {  # those that need something else: the endpoint, and two requests
    "init_image": ("img2img", FROM_PICTURE, {"init_image": picture(90, 90)}),
    "strength": ("img2img", FROM_PICTURE, {"strength": 0.9}),
    "mask_image": ("inpaint", MASKED, {"mask_image": picture(255, 0)}),
    "lora_strength": ("text2img", PLAIN | {"lora_model": "ink"}, {"lora_strength": 0.2}),
    "safety_checker": ("text2img", NAKED, {"safety_checker": "yes"}),
    "safety_checker_type": ("text2img", NAKED | {"safety_checker": "yes"}, {"safety_checker_type": "blur"}),
}
OF_THE_ANSWER = {
    "key",
    "base64",
    "temp",
    "expires_in",
    "store",
    "instant_response",
    "webhook",
    "track_id",
}  # when and how it is given, not what
OF_INSTALLED = {"embeddings_model"}  # test_installing installs one and looks
OTHER_NAMES = {
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "prompt_strength": "strength",
    "vae_model": "vae",
}


def made(site: Site, key: str, operation: str, body: Json) -> list[bytes]:
    reply = site.post(f"v3/{operation}", key, **body).json()
    assert reply["status"] == "success", reply
    return [site.http.get(address).content for address in reply["output"]]


@pytest.mark.parametrize("field", CHANGED)
def test_a_field_shows_in_the_picture(site: Site, key: str, field: str) -> None:
    plain = made(site, key, "text2img", PLAIN)
    assert made(site, key, "text2img", PLAIN) == plain
    assert made(site, key, "text2img", PLAIN | {field: CHANGED[field]}) != plain


@pytest.mark.parametrize("field", BESIDE)
def test_beside_others_too(site: Site, key: str, field: str) -> None:
    operation, one, change = BESIDE[field]
    assert made(site, key, operation, one) != made(site, key, operation, one | change)


@pytest.mark.parametrize("field", OTHER_NAMES)
def test_another_name_is_the_same_field(site: Site, key: str, field: str) -> None:
    operation, plain, change = BESIDE.get(OTHER_NAMES[field], ("text2img", PLAIN, CHANGED))
    given = {name: value for name, value in plain.items() if name != OTHER_NAMES[field]}
    value = change[OTHER_NAMES[field]]
    assert made(site, key, operation, given | {field: value}) == made(
        site, key, operation, given | {OTHER_NAMES[field]: value}
    )


def test_what_has_no_effect_changes_no_byte(site: Site, key: str) -> None:
    asked = PLAIN | dict.fromkeys(FIELDS, "yes")
    reply = site.post("v3/text2img", key, **asked)
    assert set(reply.headers["X-Safelight-Ignored"].split(", ")) == set(FIELDS)
    assert made(site, key, "text2img", asked) == made(site, key, "text2img", PLAIN)


def test_every_accepted_field_is_in_one_of_the_lists() -> None:
    assert set(images.MASKED) == {*CHANGED, *BESIDE, *OF_THE_ANSWER, *OF_INSTALLED}
    assert not {*FIELDS} & {*images.MASKED, *OTHER_NAMES}


def test_every_field_that_the_pages_print_is_accepted_or_without_effect() -> None:
    assert set(printed()) - {*images.MASKED, *OTHER_NAMES, *FIELDS} == set()


def printed() -> Iterator[str]:
    """By the pages of the endpoints that make pictures, where what they print is JSON."""
    makers = (images.text2img, images.img2img, images.inpaint)
    paths = {f"/api/{row.path}" for row in TABLE if row.act in makers}
    for example in examples():
        if example.path in paths:
            try:
                yield from json.loads(example.body or "")
            except ValueError:
                continue
