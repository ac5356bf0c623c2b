"""Pictures mixed, layouts kept and instructions about several followed: what the engine is told, what is answered and refused, and that
inputs go too.
"""

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
KINDS = {
    "pix": "StableDiffusionInstructPix2PixPipeline",
    "deep": "StableDiffusionDepth2ImgPipeline",
    "kontext": "FluxKontextPipeline",
}
EDITORS = ["v6/image_editing/qwen_edit", "v1/enterprise/image_editing/qwen_edit"]
WIDE, TALL = (96, 64), (64, 128)


def plain(colour: str, size: tuple[int, int] = WIDE) -> str:
    return "data:image/png;base64," + base64.b64encode(saved(Image.new("RGB", size, colour))).decode()


def seen(told: Generation) -> list[tuple[tuple[int, int], tuple[int, ...]]]:
    """Width, height and colour of each picture that the engine is shown."""
    return [((each.shape[1], each.shape[0]), tuple(map(int, each[0, 0]))) for each in told.pictures]


RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture(scope="module")
def equipped(site_settings: Settings, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with a checkpoint of each kind."""
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


@pytest.mark.parametrize("path", [MIXERS[1], EDITORS[0]])
def test_what_was_made_is_erased_with_all_that_it_was_made_from(equipped: Site, path: str) -> None:
    key, before = equipped.key(), equipped.holdings()
    asked = {"prompt": "a rose", "init_image": [plain("red"), plain("blue"), plain("teal"), plain("pink")]}
    body = equipped.post(path, key, **asked).json()
    assert equipped.holdings()["files"] == before["files"] + 5
    assert equipped.post("v3/delete_image", key, request_id=body["id"]).json()["status"] == "success"
    after = equipped.holdings()
    assert (after["files"], after["requests"]) == (before["files"], before["requests"])


@pytest.mark.parametrize("path", EDITORS)
def test_an_instruction_speaks_of_whole_pictures(equipped: Site, asked: list[Generation], path: str) -> None:
    given = [plain("red"), plain("blue", TALL), plain("red"), plain("blue")]
    body = made(equipped, path, prompt="the rose of image 2", init_image=given, enhance_prompt=None)
    (told,) = asked
    assert seen(told) == [(WIDE, RED), (TALL, BLUE), (WIDE, RED), (WIDE, BLUE)]
    assert (told.prompt, told.model, told.guidance_scale) == ("the rose of image 2", "kontext", 2.5)
    assert (told.width, told.height, body["meta"]["init_image"]) == (96, 64, ["", "", "", ""])


def test_a_page_of_two_pictures_gives_them_in_the_order_of_its_prompt(equipped: Site, asked: list[Generation]) -> None:
    room = {"init_image": plain("red", TALL), "object_image": plain("blue"), "prompt": "the sofa"}
    made(equipped, "v6/interior/interior_mixer", **room)
    worn = {"init_image": plain("red"), "cloth_image": plain("blue"), "cloth_type": "dresses", "prompt": "a photo"}
    made(equipped, "v6/image_editing/fashion", **worn, width=64, height=64)
    mixed, dressed = asked
    assert (seen(mixed), mixed.width, mixed.height) == ([(WIDE, BLUE), (TALL, RED)], 64, 128)
    assert (seen(dressed), dressed.width) == ([(WIDE, RED), (WIDE, BLUE)], 64)
    assert (
        dressed.prompt == "Dress the person of picture 1 in the dress of picture 2, everything else unchanged. a photo"
    )


@pytest.mark.parametrize(
    ("page", "pictures", "what"),
    [
        ("v6/image_editing/qwen_edit", {"init_image": PHOTO}, "a picture"),
        ("v6/image_editing/qwen_edit", {"init_image": [PHOTO] * 3}, "3 pictures together"),
        ("v6/interior/interior_mixer", {"init_image": PHOTO, "object_image": PHOTO}, "2 pictures together"),
        ("v5/fashion", {"init_image": PHOTO, "cloth_image": PHOTO}, "2 pictures together"),
    ],
)
def test_without_an_editor_they_say_how_to_add_one(site: Site, key: str, page: str, pictures: Json, what: str) -> None:
    reply = site.post(page, key, prompt="a rose", **pictures)
    said = (
        f"This server has no checkpoint that edits {what} by instruction. Its operator can add one (FLUX.1 Kontext or"
    )
    assert (reply.status_code, reply.json()["message"].startswith(said)) == (501, True)


def test_more_pictures_than_four_are_refused(equipped: Site) -> None:
    reply = equipped.post(EDITORS[0], equipped.key(), prompt="a rose", init_image=[PHOTO] * 5)
    said = "init_image must be one to 4 pictures: a list, or addresses separated by commas"
    assert (reply.status_code, reply.json()["message"]) == (400, said)


@pytest.mark.parametrize(
    ("model", "counted", "note"),
    [
        ("", 4, "Of 5 pictures the first 4 are used; the others are not read."),
        ("pix", 1, "Of several pictures the first is edited; the others are not read."),
    ],
)
def test_an_edit_in_openais_words_too(
    equipped: Site, asked: list[Generation], model: str, counted: int, note: str
) -> None:
    red, blue = (("a.png", saved(Image.new("RGB", WIDE, colour))) for colour in ("red", "blue"))
    sent = {"files": [("image[]", each) for each in (red, blue, red, blue, red)]}
    given = {"prompt": "the rose of image 2", "response_format": "b64_json", "model": model}
    headers = {"Authorization": f"Bearer {equipped.key()}"}
    reply = equipped.http.post("/v1/images/edits", data=given, headers=headers, **sent)  # type: ignore[arg-type]
    assert (reply.status_code, reply.headers["x-safelight-notes"]) == (200, note), reply.text
    (told,) = asked
    assert seen(told) == [(WIDE, RED), (WIDE, BLUE), (WIDE, RED), (WIDE, BLUE)][:counted]
    assert told.model == (model or "kontext")


def test_a_task_of_several_source_pictures_in_tensorslabs_words(equipped: Site, asked: list[Generation]) -> None:
    files = [("sourceImage", ("a.png", saved(Image.new("RGB", WIDE, "red")), "image/png"))]
    given = {"prompt": "the rose of image 2", "imageUrl": plain("blue", TALL)}
    headers = {"Authorization": f"Bearer {equipped.key()}"}
    reply = equipped.http.post("/v1/images/quickedit", data=given, files=files, headers=headers)
    assert reply.headers["x-safelight-notes"] == "model_id quickedit is not on this server; kontext is used."
    equipped.holdings()
    (told,) = asked
    assert (seen(told), told.model, told.width) == ([(WIDE, RED), (TALL, BLUE)], "kontext", 96)
