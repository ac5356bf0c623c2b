"""The published clients, unchanged, against this server: `modelslab` 0.2 and `modelslab-py` 0.2.3. Only their base address is set."""

from __future__ import annotations

import json
import warnings

import pytest

from .site import PHOTO, Json, Site

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of their own pydantic code
    from modelslab import CommunityModels, EPTxt2Img, Miscs
    from modelslab_py.core.apis.community import Community
    from modelslab_py.core.apis.realtime import Realtime
    from modelslab_py.core.client import Client
    from modelslab_py.schemas.community import Image2Image, Inpainting, Text2Image
    from modelslab_py.schemas.realtime import RealtimeImage2ImageSchema, RealtimeText2ImageSchema

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # they call pydantic's old names

COMMON: Json = {
    "model_id": "plain",
    "prompt": "a cat",
    "negative_prompt": None,
    "width": "64",
    "height": "64",
    "samples": "1",
    "safety_checker": "no",
    "enhance_prompt": "yes",
    "seed": None,
    "guidance_scale": 7.5,
    "embeddings_model": None,
    "lora_model": None,
    "lora_strength": None,
    "tomesd": "yes",
    "use_karras_sigmas": "yes",
    "vae": None,
    "scheduler": "UniPCMultistepScheduler",
    "webhook": None,
    "track_id": None,
}


def test_modelslab_miscs(site: Site, key: str) -> None:
    miscs = Miscs()
    miscs.base_url = f"{site.settings.base_url}/api/v3"
    uploaded = json.loads(miscs.base64_crop(key, PHOTO, "false"))
    assert (uploaded["status"], uploaded["messege"]) == ("success", "image uploaded")
    assert json.loads(miscs.delete_image(key, uploaded["request_id"])) == {
        "status": "success",
        "messege": "image deleted",
    }
    assert json.loads(miscs.clear_cache(key)) == {"status": "success", "message": "Cache cleared"}
    assert site.http.get(uploaded["link"]).status_code == 404


def test_modelslab_community_models(site: Site, key: str) -> None:
    models = CommunityModels()
    models.base_url = f"{site.settings.base_url}/api/v6/images"
    made = json.loads(models.img2img(key, init_image=PHOTO, num_inference_steps="4", strength=0.7, **COMMON))
    assert made["status"] == "success"
    painted = json.loads(models.inpaint(key, init_image=PHOTO, mask_image=PHOTO, steps="4", strength=0.7, **COMMON))
    assert painted["meta"]["use_karras_sigmas"] == "yes"
    rest = {"multi_lingual": "no", "panorama": "no", "self_attention": "no", "upscale": "no", "clip_skip": "2"}
    drawn = json.loads(models.txt2img(key, num_inference_steps="4", **rest, **COMMON))
    fetched = json.loads(models.fetch_queued(key, drawn["id"]))
    assert fetched["output"] == drawn["output"]
    assert site.http.get(drawn["output"][0]).status_code == 200


def test_modelslab_enterprise(site: Site, key: str) -> None:
    enterprise = EPTxt2Img()
    enterprise.base_url = f"{site.settings.base_url}/api/v1/enterprise/txt2img"
    assert json.loads(enterprise.clear_cache(key))["message"] == "Cache cleared successfully"
    site.holdings()
    assert json.loads(enterprise.system_details(key)) == {"model_count": 2, "queue_time": 0, "status": "ok"}
    assert "UniPCMultistepScheduler" in json.loads(enterprise.schedulers_list(key))["schedulers"]
    number = site.made(key)["id"]
    assert json.loads(enterprise.fetch_queued(key, number))["id"] == number


@pytest.fixture
def client(site: Site, key: str) -> Client:
    client = Client(key, fetch_retry=50, fetch_timeout=0.1)
    client.base_url = f"{site.settings.base_url}/api/"
    return client


@pytest.mark.parametrize("enterprise", [False, True])
def test_modelslab_py_community(site: Site, client: Client, enterprise: bool) -> None:
    community = Community(client, enterprise)
    size = {"width": 64, "height": 64, "num_inference_steps": 4}
    drawn = community.text_to_image(Text2Image(prompt="a cat", samples=2, **size))
    changed = community.image_to_image(Image2Image(prompt="a cat", init_image=drawn["output"][0], strength=0.5, **size))
    painted = community.inpainting(Inpainting(prompt="a cat", init_image=PHOTO, mask_image=PHOTO, **size))
    for body in (drawn, changed, painted):
        assert body["status"] == "success"
        assert community.fetch(str(body["id"]))["output"] == body["output"]
        assert site.http.get(body["output"][0]).status_code == 200


def test_modelslab_py_polls_until_the_pictures_are_there(site: Site, client: Client) -> None:
    community = Community(client)
    with site.closed_gate():
        body = community.text_to_image(
            Text2Image(prompt="a cat", width=64, height=64, num_inference_steps=2, instant_response="yes")
        )
        assert body["status"] == "processing"
    assert community.fetch(str(body["id"]))["output"] == body["future_links"]


def test_modelslab_py_realtime(client: Client) -> None:
    realtime = Realtime(client)
    drawn = realtime.text_to_image(RealtimeText2ImageSchema(prompt="a cat", width=64, height=64))
    assert (drawn["status"], drawn["meta"]["width"]) == ("success", 64)
    schema = RealtimeImage2ImageSchema(prompt="a cat", init_image=PHOTO, width=64, height=64, base64=True)
    assert realtime.image_to_image(schema)["output"][0].endswith("-0.base64")


@pytest.mark.parametrize("call", ["system_details", "clear_cache"])
def test_modelslab_py_enterprise_calls(client: Client, call: str) -> None:
    for api in (Community(client, True), Realtime(client, True)):
        assert getattr(api, call)()["status"] in ("ok", "success")


def test_modelslab_py_hears_of_errors(client: Client) -> None:
    with pytest.raises(Exception, match=r"status code 400.*samples must be between 1 and 4"):
        Community(client).text_to_image(Text2Image(prompt="a cat", samples=9))
