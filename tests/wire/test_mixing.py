"""Pictures mixed, layouts kept and instructions followed: what the engine is told, what is answered and refused, and that inputs go too."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from PIL import Image
from psycopg.conninfo import make_conninfo

from safelight.engine.generation import Generation
from safelight.settings import Settings
from tests.service.pictures import saved

from .site import PHOTO, Json, Site, heard, open_site

MAGIC = ["v3/magic_mix", "v5/magic_mix", "v6/image_editing/magic_mix", "v1/enterprise/image_editing/magic_mix"]
MIXERS = ["v5/img_mixer", "v6/image_editing/img_mixer"]
KINDS = {"pix": "StableDiffusionInstructPix2PixPipeline", "deep": "StableDiffusionDepth2ImgPipeline"}


def plain(colour: str) -> str:
    return "data:image/png;base64," + base64.b64encode(saved(Image.new("RGB", (96, 64), colour))).decode()


@pytest.fixture(scope="module")
def equipped(site_settings: Settings, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with a checkpoint of either kind."""
    name, own = f"equipped_{secrets.token_hex(6)}", tmp_path_factory.mktemp("equipped")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template_house".encode())
    for kind, pipeline in KINDS.items():
        (own / kind).mkdir()
        (own / kind / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    more = {"data_dir": own, "database_url": make_conninfo(postgres_url, dbname=name)}
    more |= {"models": {kind: own / kind for kind in KINDS}}
    with open_site(site_settings.model_copy(update=more)) as running:
        yield running


@pytest.fixture
def asked(equipped: Site, monkeypatch: pytest.MonkeyPatch) -> list[Generation]:
    return heard(equipped, monkeypatch)


def made(site: Site, path: str, **fields: object) -> Json:
    body: Json = site.post(path, site.key(), **{"prompt": "a rose", "enhance_prompt": "no", **fields}).json()
    assert body["status"] == "success", body
    return body


@pytest.mark.parametrize("path", MIXERS)
def test_pictures_and_prompts_are_mixed_by_their_weights(equipped: Site, asked: list[Generation], path: str) -> None:
    given = {"init_image": [plain("red"), plain("blue"), plain("teal")], "init_image_weights": "0.5,0.7,0"}
    body = made(equipped, path, **given, prompt=["a rose", "a man", "a pond"])
    (told,) = asked
    assert [told.share, *(each.share for each in told.mixture)] == [0.5, 0.7, 0.0]
    assert [told.prompt, *(each.prompt for each in told.mixture)] == ["a rose", "a man", "a pond"]
    assert told.init_image is not None
    assert [tuple(each[0, 0]) for each in (told.init_image, told.mixture[0].picture)] == [(255, 0, 0), (0, 0, 255)]
    assert (told.width, told.height) == (96, 64)
    assert body["meta"]["init_image_weights"] == "0.5,0.7,0"


def test_addresses_may_stand_in_one_text_and_count_alike(equipped: Site, asked: list[Generation]) -> None:
    made(equipped, MIXERS[0], init_image=f"{plain('red')}, {plain('blue')}", width=64, height=64)
    (told,) = asked
    assert [told.share, *(each.share for each in told.mixture)] == [1.0, 1.0]
    assert (told.mixture[0].prompt, told.width) == ("a rose", 64)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "init_image is required"),
        ({"init_image": [PHOTO]}, "init_image must be two to 4 pictures: a list, or addresses separated by commas"),
        ({"init_image": [PHOTO] * 5}, "init_image must be two to 4 pictures: a list, or addresses separated by commas"),
        (
            {"init_image": [PHOTO, "nonsense!"]},
            "init_image[1] must be an http(s) address, a data URI with base64, or base64",
        ),
        (
            {"init_image": [PHOTO] * 2, "init_image_weights": "1"},
            "init_image_weights must be as many numbers as there are pictures, and one of them above 0",
        ),
        ({"init_image": [PHOTO] * 2, "init_image_weights": "1,2"}, "init_image_weights must be between 0 and 1"),
        (
            {"init_image": [PHOTO] * 2, "prompt": ["a"]},
            "prompt must be one text, or a list of as many as there are pictures",
        ),
    ],
)
def test_a_mixture_that_cannot_be_is_refused_by_its_field(site: Site, key: str, fields: Json, said: str) -> None:
    reply = site.post(MIXERS[1], key, **{"prompt": "a rose", **fields})
    assert (reply.status_code, reply.json()["message"]) == (400, said)


@pytest.mark.parametrize("path", MAGIC)
def test_a_layout_is_kept_until_the_prompt_alone_paints(equipped: Site, asked: list[Generation], path: str) -> None:
    body = made(equipped, path, image=plain("red"), kmin=0.2, kmax="0.6", mix_factor=0.75)
    (told,) = asked
    assert (told.strength, told.layout_until, told.layout_share) == (0.6, 0.2, 0.25)
    assert (told.width, told.height) == (96, 64)
    if path != MAGIC[0]:
        assert [body["meta"][name] for name in ("kmin", "kmax", "mix_factor")] == [0.2, 0.6, 0.75]


def test_a_layout_that_is_let_go_before_it_is_begun_is_refused(site: Site, key: str) -> None:
    reply = site.post(MAGIC[2], key, prompt="a bed", image=PHOTO, kmin=0.6)
    assert (reply.status_code, reply.json()["message"]) == (400, "kmin must be at most kmax")


def test_an_instruction_goes_to_the_checkpoint_of_its_kind(equipped: Site, asked: list[Generation]) -> None:
    body = made(equipped, "v5/pix2pix", init_image=plain("red"), image_guidance_scale=2, model_id="midjourney")
    (told,) = asked
    assert (told.model, told.image_guidance_scale, told.width, told.height) == ("pix", 2.0, 96, 64)
    assert isinstance(body["output"], str)  # as the old page prints it
    assert body["meta"]["image_guidance_scale"] == 2.0


def test_depth_goes_to_the_checkpoint_of_its_kind(equipped: Site, asked: list[Generation]) -> None:
    assert isinstance(made(equipped, "v5/depth2img", init_image=plain("red"), strength=0.4)["output"], str)
    assert (asked[0].model, asked[0].strength) == ("deep", 0.4)


@pytest.mark.parametrize("page", ["pix2pix", "depth2img"])
def test_without_such_a_checkpoint_they_say_what_is_missing(site: Site, key: str, page: str) -> None:
    reply = site.post(f"v5/{page}", key, prompt="give him glasses", init_image=PHOTO)
    assert reply.status_code == 501
    assert reply.json()["message"].startswith(f"This server has no checkpoint for {page} (")


def test_a_mixture_is_erased_with_all_that_it_was_made_from(site: Site, key: str) -> None:
    before = site.holdings()
    asked = {"prompt": "a rose", "init_image": [plain("red"), plain("blue"), plain("teal")]}
    body = site.post(MIXERS[1], key, **asked).json()
    assert site.holdings()["files"] == before["files"] + 4
    assert site.post("v3/delete_image", key, request_id=body["id"]).json()["status"] == "success"
    after = site.holdings()
    assert (after["files"], after["requests"]) == (before["files"], before["requests"])
