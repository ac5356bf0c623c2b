"""Checkpoints by the names that apps send, and the lists of what there is."""

from __future__ import annotations

import pytest

from tests.wire.site import Site

PATHS = (
    "v3/text2img",
    "v3/dreambooth",
    "v4/dreambooth",
    "v6/images/text2img",
    "v6/realtime/text2img",
    "v1/enterprise/text2img",
)


@pytest.mark.parametrize("path", [*PATHS, "v7/images/text-to-image", "v1/enterprise/flux/text2img"])
def test_a_hosted_name_is_served_by_the_default_checkpoint_which_the_answer_says(
    site: Site, key: str, path: str
) -> None:
    reply = site.post(path, key, prompt="a cat", model_id="midjourney", width=64, height=64, num_inference_steps=2)
    body = reply.json()
    assert (reply.status_code, body["status"], body["meta"]["model"]) == (200, "success", "plain")
    assert reply.headers["x-safelight-notes"] == "model_id midjourney is not on this server; plain is used."


def test_ones_own_names_are_served_without_a_word(site: Site, key: str) -> None:
    reply = site.img2img(key, model_id="other")
    assert reply.json()["meta"]["model"] == "other"
    assert "x-safelight-notes" not in reply.headers
