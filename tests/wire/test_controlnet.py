"""ControlNets as callers ask for them, in two dialects: what the engine is told, and what is refused by name."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from PIL import Image
from psycopg.conninfo import make_conninfo
from webuiapi import ControlNetUnit, WebUIApi

from safelight.engine.generation import Generation
from safelight.engine.hints import HINTS, NETWORKS
from safelight.service import controls
from safelight.settings import Settings
from tests.service.pictures import saved

from .site import PHOTO, Json, Site, heard, open_site


def small() -> Any:
    """The client writes its units into the scripts that it is given, and keeps those that it is not."""
    return {"width": 64, "height": 64, "steps": 4, "alwayson_scripts": {}}


def plain(colour: str) -> str:
    return "data:image/png;base64," + base64.b64encode(saved(Image.new("RGB", (64, 64), colour))).decode()


@pytest.fixture(scope="module")
def steered(site_settings: Settings, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with two ControlNets."""
    name = f"steered_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template_house".encode())
    own = tmp_path_factory.mktemp("steered")
    more = {"data_dir": own, "database_url": make_conninfo(postgres_url, dbname=name)}
    with open_site(site_settings.model_copy(update=more | {"controlnets": {"canny": own, "lines": own}})) as running:
        yield running


@pytest.fixture
def asked(steered: Site, monkeypatch: pytest.MonkeyPatch) -> list[Generation]:
    return heard(steered, monkeypatch)


def post(site: Site, path: str, **fields: object) -> Any:
    given: Json = {"prompt": "a red cat", "width": 64, "height": 64, "num_inference_steps": 4, "enhance_prompt": "no"}
    return site.post(path, site.key(), **given | fields)


@pytest.mark.parametrize("path", ["v5/controlnet", "v6/images/controlnet", "v1/enterprise/controlnet"])
def test_an_init_image_alone_is_followed_from_noise(steered: Site, asked: list[Generation], path: str) -> None:
    reply = post(
        steered, path, init_image=plain("navy"), controlnet_model="canny", controlnet_type="canny", strength=0.55,
        controlnet_conditioning_scale="0.5", mask_image=None, control_image=None, guess_mode="yes",
    )  # fmt: skip
    body = reply.json()
    assert (reply.status_code, body["status"]) == (200, "success"), body
    [generation] = asked
    [control] = generation.controls
    assert (control.name, control.hint, control.scale, control.start, control.end) == ("canny", "canny", 0.5, 0, 1)
    assert generation.init_image is None
    assert np.array_equal(control.picture, np.full((64, 64, 3), (0, 0, 128), np.uint8))
    assert "guess_mode" in reply.headers["x-safelight-notes"]
    assert "strength" in reply.headers["x-safelight-notes"]


def test_several_follow_one_picture_while_another_is_painted(steered: Site, asked: list[Generation]) -> None:
    reply = post(
        steered, "v5/controlnet", init_image=plain("red"), mask_image=plain("white"), control_image=plain("navy"),
        controlnet_model="lines,inpainter", controlnet_type="scribble,inpaint", controlnet_conditioning_scale="0.5,2",
        control_guidance_end="0.5, 1",
    )  # fmt: skip
    assert (reply.status_code, reply.json()["message"]) == (
        400,
        "controlnet_model must name ControlNets of this server: canny, lines",
    )
    reply = post(
        steered, "v5/controlnet", init_image=plain("red"), mask_image=plain("white"), control_image=plain("navy"),
        controlnet_model="lines,canny", controlnet_type="scribble,inpaint", controlnet_conditioning_scale="0.5,2",
        control_guidance_end="0.5, 1",
    )  # fmt: skip
    assert reply.json()["status"] == "success", reply.json()
    told = [(use.name, use.hint, use.scale, use.end) for use in asked[0].controls]
    assert told == [("lines", "scribble", 0.5, 0.5), ("canny", "inpaint", 2.0, 1.0)]
    assert asked[0].init_image is not None
    assert asked[0].mask_image is not None
    assert all(tuple(use.picture[0, 0]) == (0, 0, 128) for use in asked[0].controls)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"controlnet_type": "depth"}, "controlnet_type depth is drawn by a model that this server does not have"),
        ({"controlnet_type": "segmentation"}, "controlnet_type segmentation is drawn by a model that this server"),
        ({"controlnet_type": "openpose"}, "controlnet_type openpose is drawn by a model that this server does not"),
        ({"controlnet_type": "inpaint"}, "mask_image is required with an inpainting ControlNet"),
        ({"controlnet_model": ""}, "controlnet_model must name one to 3"),
        ({"controlnet_conditioning_scale": "1,2"}, "controlnet_conditioning_scale must be one number"),
    ],
)
def test_what_cannot_be_is_refused_by_name(steered: Site, fields: Json, said: str) -> None:
    reply = post(steered, "v5/controlnet", **{"init_image": PHOTO, "controlnet_model": "canny", **fields})
    assert reply.status_code == 400
    assert reply.json()["message"].startswith(said)


def test_a_hint_that_was_drawn_elsewhere_is_taken_as_it_is(steered: Site, asked: list[Generation]) -> None:
    given = {"init_image": PHOTO, "controlnet_model": "lines", "controlnet_type": "openpose", "auto_hint": "no"}
    assert post(steered, "v5/controlnet", **given).json()["status"] == "success"
    assert asked[0].controls[0].hint == "plain"


def test_without_any_the_pages_say_what_is_missing(site: Site) -> None:
    reply = post(site, "v5/controlnet", init_image=PHOTO, controlnet_model="canny")
    assert reply.status_code == 501
    assert "SAFELIGHT_CONTROLNETS" in reply.json()["message"]


def test_what_was_followed_is_erased_with_the_picture(steered: Site) -> None:
    before = steered.holdings()
    key = steered.key()
    given = {"prompt": "a cat", "width": 64, "height": 64, "init_image": PHOTO, "control_image": PHOTO}
    body = steered.post("v5/controlnet", key, controlnet_model="canny", **given).json()
    assert steered.holdings()["files"] == before["files"] + 3
    assert steered.post("v3/clear_cache", key).json()["status"] == "success"
    assert steered.holdings()["files"] == before["files"] + 1
    steered.post("v3/delete_image", key, request_id=body["id"])
    assert steered.holdings()["files"] == before["files"]


def test_units_of_the_web_ui(steered: Site, asked: list[Generation]) -> None:
    api = WebUIApi(baseurl=f"{steered.settings.base_url}/sdapi/v1", username="me", password=steered.key())
    navy, red = Image.new("RGB", (64, 64), "navy"), Image.new("RGB", (64, 64), "red")
    units = [
        ControlNetUnit(navy, module="softedge_pidinet", model="lines [d14c016b]", weight=0.7, guidance_end=0.5),
        ControlNetUnit(red, module="none", model="canny", control_mode=2),
        ControlNetUnit(module="canny", model="depth", enabled=False),
    ]
    made = api.txt2img(prompt="a house", controlnet_units=units, **small())
    assert made.image.size == (64, 64)
    told = [(use.name, use.hint, use.scale, use.end, tuple(use.picture[0, 0])) for use in asked[0].controls]
    assert told == [("lines", "softedge", 0.7, 0.5, (0, 0, 128)), ("canny", "plain", 1.0, 1.0, (255, 0, 0))]
    api.img2img(
        images=[red], prompt="a house", controlnet_units=[ControlNetUnit(model="canny", module="canny")], **small()
    )
    assert tuple(asked[1].controls[0].picture[0, 0]) == (255, 0, 0)
    for unit, said in (
        (ControlNetUnit(navy, model="depth", module="none"), "must name ControlNets of this server"),
        (ControlNetUnit(navy, model="canny", module="depth_midas"), "drawn by a model"),
        (ControlNetUnit(model="canny"), "without an image"),
    ):
        with pytest.raises(RuntimeError, match=said):
            api.txt2img(prompt="a house", controlnet_units=[unit], **small())
    api.session.close()


def test_hints_are_the_engines() -> None:
    assert set(controls.HINTS.values()) | {controls.PLAIN} == {*HINTS, *NETWORKS}
    assert controls.NETWORKS.keys() == NETWORKS.keys()


def test_what_the_extension_lists(steered: Site) -> None:
    """Every module that is told of makes something here."""
    api = WebUIApi(baseurl=f"{steered.settings.base_url}/sdapi/v1", username="me", password=steered.key())
    assert (api.controlnet_version(), api.controlnet_model_list()) == (2, ["canny", "lines"])
    told = api.controlnet_module_list()
    assert {module.partition("_")[0] for module in told} <= controls.HINTS.keys() - {"depth", "seg", "openpose"}
    refused = steered.http.get("/controlnet/model_list")
    assert (refused.status_code, refused.json()["error"]) == (401, "Unauthorized")
