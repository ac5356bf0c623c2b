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


@pytest.mark.parametrize("path", ["v3/dreambooth/model_list", "v4/dreambooth/model_list"])
def test_the_old_list_is_a_bare_array_with_the_printed_fields(site: Site, key: str, path: str) -> None:
    found = site.post(path, key).json()
    assert [entry["model_id"] for entry in found] == ["plain", "other"]
    printed = {"model_id", "status", "created_at", "instance_prompt", "model_name", "description", "screenshots"}
    assert all(printed <= set(entry) and entry["status"] == "model_ready" for entry in found)


def catalogue(site: Site, key: str, path: str = "v7/models", **query: str | int) -> tuple[list[str], dict[str, int]]:
    body = site.http.get(f"/api/{path}", params={"key": key, **query}).json()
    return [entry["model_id"] for entry in body["data"]], body["pagination"]


@pytest.mark.parametrize("path", ["v7/models", "v6/model-search", "agents/v1/models"])
def test_the_newer_catalogue_is_searched_and_comes_in_pages(site: Site, key: str, path: str) -> None:
    everything = ["plain", "ink", "other", "soft", "wash"]
    assert catalogue(site, key, path)[0] == everything
    assert catalogue(site, key, path, search="IN")[0] == ["plain", "ink"]
    assert catalogue(site, key, path, search="in k")[0] == ["ink"]
    assert catalogue(site, key, path, model_type="lora", sort="desc")[0] == ["wash", "ink"]
    assert catalogue(site, key, path, feature="video_fusion")[0] == []
    second = {"current_page": 2, "per_page": 3, "total": 5, "last_page": 2}
    assert catalogue(site, key, path, page=2, per_page=3) == (["soft", "wash"], second)
    one = site.http.get(f"/api/{path}/ink", headers={"Authorization": f"Bearer {key}"}).json()["data"]
    assert (one["model_id"], one["model_type"]) == ("ink", "lora")
    for part in ("filters", "tags", "providers"):
        assert site.http.get(f"/api/{path}/{part}", headers={"key": key}).json()["status"] == "success"


def test_questions_about_one_checkpoint(site: Site, key: str) -> None:
    said = {"status": "success", "message": "Model exists on server"}
    assert site.post("v1/enterprise/verify_model", key, model_id="other").json() == said
    refused = site.post("v1/enterprise/verify_model", key, model_id="flux")
    assert (refused.status_code, refused.json()["message"]) == (404, "Model not found: flux")
    assert site.post("v4/dreambooth/model_reload", key, model_id="plain").json()["status"] == "success"
    listed = site.post("v1/enterprise/get_all_models", key).json()["models"]
    assert [model["model_id"] for model in listed] == ["plain", "other"]
    assert site.post("v1/enterprise/sync_models", key).json()["model_list"] == ["plain", "other"]
    assert site.post("v3/finetune_list", key).json() == {"status": "success", "messege": "model list", "data": []}
