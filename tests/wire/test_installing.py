"""Installing a model through the API: what is asked, what is refused and in which words, and what is left of it when it is erased."""

from __future__ import annotations

import pickle
import re
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from safelight.service.makers.install import check_form
from tests.engine.checkpoints import write_controlnet, write_sd1, write_single_file
from tests.whole.shelter import Shelter, shelter
from tests.wire.site import PHOTO, Site
from tests.wire.test_generation import listening

GOOD = {"url": "https://models.example/one.safetensors", "model_id": "one"}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelter]:
    """Of a small checkpoint of the true architecture."""
    folder = tmp_path_factory.mktemp("checkpoint")
    path = write_single_file(folder / "one.safetensors", write_sd1(folder / "sd1", clip=True))
    with shelter(path) as here:
        yield here


def eventually(ask: Callable[[], Any], seconds: float = 300.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
    return found


def entry(site: Site, key: str, name: str) -> dict[str, str]:
    """Once its installation has ended."""

    def settled() -> dict[str, str] | None:
        found: dict[str, str] = site.http.get(f"/api/v7/models/{name}", params={"key": key}).json()["data"]
        return found if found["status"] in ("model_ready", "model_failed") else None

    found: dict[str, str] = eventually(settled)
    return found


@pytest.fixture(scope="module")
def folder(host: Shelter) -> Path:
    """The same checkpoint in diffusers' layout, its denoiser in shards."""
    to = host.file.parent / "sharded"
    shutil.copytree(host.file.parent / "sd1", to)
    shutil.rmtree(to / "unet")
    UNet2DConditionModel.from_pretrained(host.file.parent / "sd1", subfolder="unet").save_pretrained(
        to / "unet", max_shard_size="1MB"
    )
    assert len([*(to / "unet").glob("*-of-*.safetensors")]) > 1
    return to


def test_a_folder_is_installed_by_its_index_and_erased(site: Site, folder: Path) -> None:
    key, before = site.key(), kept(site)
    with shelter(folder, 200) as host:
        told = site.post("v3/load_model", key, url=host.url, model_id="in-shards", model_format="diffusers")
        assert entry(site, key, "in-shards")["status"] == "model_ready"
    engines = f"installed {told.json()['id']}"
    eventually(lambda: engines in site.shelf.loaded)
    shown = site.shelf.shown[engines]
    weights = {path.relative_to(folder) for path in folder.rglob("*.safetensors")}
    assert weights == {path.relative_to(shown) for path in shown.rglob("*.safetensors")}
    for name in (*map(str, weights), "unet/config.json", "tokenizer/tokenizer.json", "scheduler/scheduler_config.json"):
        assert (shown / name).read_bytes() == (folder / name).read_bytes()
    assert site.made(key, model_id="in-shards")["meta"]["model"] == "in-shards"
    assert site.post("v3/delete_model", key, model_id="in-shards").headers["x-safelight-receipt"]
    eventually(lambda: kept(site) <= before and not shown.exists())
    assert engines not in site.shelf.shown


def kept(site: Site) -> set[Path]:
    return {path for path in (site.settings.data_dir / "blobs" / "model").rglob("*") if path.is_file()}


def test_a_checkpoint_is_installed_used_and_erased(site: Site, host: Shelter) -> None:
    key, other, before = site.operator_key(), site.key(), kept(site)
    with listening() as (address, heard):
        callback: dict[str, object] = {"webhook": address, "track_id": 7}
        about = {"url": host.url, "model_id": "mine", "model_visibility": "public", "revision": "fp16"}
        told = site.post("v3/load_model", key, **about, **callback)
        call = heard.get(timeout=300)
    assert call["body"] == {"status": "success", "id": told.json()["id"], "model_id": "mine", "track_id": 7}
    assert (told.status_code, told.json()["message"]) == (200, "model load started")
    assert told.headers["x-safelight-ignored"] == "revision"
    assert entry(site, key, "mine")["status"] == "model_ready"
    assert site.post("v3/fetch", key, request_id=told.json()["id"]).json()["status"] == "success"
    engines = f"installed {told.json()['id']}"
    for caller in (key, other):
        made = site.made(caller, model_id="mine")
        assert made["meta"]["model"] == "mine"
    assert site.shelf.shown[engines].stat().st_size == host.file.stat().st_size
    assert site.shelf.shown[engines].read_bytes() == host.file.read_bytes()
    assert engines in site.shelf.loaded
    assert site.post("v3/delete_model", other, model_id="mine").status_code == 404
    gone = site.post("v1/enterprise/delete_model", key, model_id="mine")
    assert (gone.status_code, gone.json()["message"]) == (200, "Model deleted on server")
    proof = {"key": key}
    receipt = f"/v1/erasures/{gone.headers['x-safelight-receipt']}"
    eventually(lambda: site.http.get(receipt, params=proof).json().get("bytes"))
    eventually(lambda: kept(site) <= before and engines not in site.shelf.shown)
    again = site.img2img(key, model_id="mine")
    assert again.json()["meta"]["model"] == "plain"


def check_controlnet(site: Site, host: Shelter, key: str, other: str) -> None:
    """One that steers the checkpoint that was just installed: used by name, listed and deleted."""
    lines = write_controlnet(host.file.parent / "lines", host.file.parent / "sd1")
    with shelter(lines / "diffusion_pytorch_model.safetensors") as second:
        told = site.post("v3/load_model", key, url=second.url, model_id="lines", model_type="controlnet")
        found = entry(site, key, "lines")
    assert (found["description"], found["status"], found["model_category"]) == ("", "model_ready", "controlnet")
    header = {"Authorization": f"Bearer {key}"}
    assert site.http.get("/controlnet/model_list", headers=header).json() == {"model_list": ["lines"]}
    given = {"prompt": "a cat", "init_image": PHOTO, "controlnet_model": "lines", "controlnet_type": "canny"}
    asked = {**given, "model_id": "secret-one", "num_inference_steps": 4, "width": 64, "height": 64}
    made = site.post("v5/controlnet", key, **asked)
    assert (made.json()["status"], made.json()["meta"]["controlnet_model"]) == ("success", "lines")
    engines = f"installed {told.json()['id']}"
    assert site.shelf.shown[engines].read_bytes() == second.file.read_bytes()
    assert site.post("v5/controlnet", other, **asked).status_code == 501
    assert site.post("v3/delete_model", key, model_id="lines").headers["x-safelight-receipt"]
    eventually(lambda: engines not in site.shelf.shown)
    assert site.post("v5/controlnet", key, **asked).status_code == 501


def check_embedding(site: Site, host: Shelter, key: str, other: str) -> None:
    """A word for the checkpoint that was just installed: its account's alone, in each dialect as that has it."""
    path = host.file.parent / "word.safetensors"
    save_file({"<wonder>": torch.zeros(2, 64)}, path)
    with shelter(path) as second:
        told = site.post("v3/load_model", key, url=second.url, model_id="mycat", model_category="embeddings")
        found = entry(site, key, "mycat")
    assert (found["description"], found["status"], found["model_category"]) == ("", "model_ready", "embeddings")
    engines = f"installed {told.json()['id']}"
    asked = {"prompt": "a <wonder>", "seed": 3, "safety_checker": "no", "enhance_prompt": "no"}
    shown = {name: pictures(site, key, **asked, embeddings_model=name) for name in ("mycat", "no")}
    assert shown["mycat"] != shown["no"]
    assert site.shelf.shown[engines].read_bytes() == path.read_bytes()
    refused = site.img2img(other, **asked, embeddings_model="mycat").json()["message"]
    assert refused == "embeddings_model must name embeddings of this server, separated by commas: there are none"
    for who, words in ((key, ["mycat"]), (other, [])):
        header = {"Authorization": f"Bearer {who}"}
        assert [*site.http.get("/sdapi/v1/embeddings", headers=header).json()["loaded"]] == words
    assert site.post("v3/delete_model", key, model_id="mycat").headers["x-safelight-receipt"]
    eventually(lambda: engines not in site.shelf.shown)
    assert site.img2img(key, **asked, embeddings_model="mycat").status_code == 400


def pictures(site: Site, key: str, **asked: object) -> list[bytes]:
    reply = site.made(key, **asked)
    assert reply["meta"]["prompt"] == asked["prompt"]
    return [site.http.get(address).content for address in reply["output"]]


NAMED = ("/api/v7/models/{}", "/api/v6/model-search/{}", "/api/agents/v1/models/{}", "/v1/models/{}")


@pytest.mark.slow  # every judgement starts a program that needs seconds of processor time
def test_a_private_one_is_its_accounts_alone(site: Site, host: Shelter) -> None:
    key, other = site.key(), site.key()
    told = site.post("v3/upload_model", key, url=host.url, model_id="secret-one", model_visibility="public")
    assert "needs an operator's key" in told.headers["x-safelight-notes"]
    assert entry(site, key, "secret-one")["status"] == "model_ready"
    check_controlnet(site, host, key, other)
    check_embedding(site, host, key, other)
    listed = [[one["model_id"] for one in site.post("v4/dreambooth/model_list", who).json()] for who in (key, other)]
    assert ["secret-one" in names for names in listed] == [True, False]
    assert site.made(other, model_id="secret-one")["meta"]["model"] == "plain"
    for path in NAMED:
        alike = [site.http.get(path.format(name), headers={"key": other}) for name in ("secret-one", "never-was1")]
        assert {reply.status_code for reply in alike} == {404}, path
        assert len({re.sub("secret-one|never-was1|[0-9a-f-]{32,36}", "it", reply.text) for reply in alike}) == 1, path
    assert "is a model of yours already" in site.post("v3/load_model", key, **GOOD | {"model_id": "secret-one"}).text
    assert site.post("v3/delete_model", key, model_id="secret-one").status_code == 200


@pytest.mark.parametrize(
    ("begins", "said"),
    [
        (
            b"PK\x03\x04" + bytes(100),
            "a zip archive, as .ckpt and .pt files are, which can hold code; send safetensors",
        ),
        (pickle.dumps({"state_dict": 1}), "a pickle, which can run code; send safetensors"),
        (struct.pack("<Q", 100 * 2**20), "a file that is not a safetensors file: its header is missing or too long"),
        (b"", "a file that is not a safetensors file: its header is missing or too long"),
    ],
)
def test_what_is_no_model_gets_its_sentence_and_leaves_nothing(
    site: Site, tmp_path: Path, begins: bytes, said: str
) -> None:
    key, before = site.key(), kept(site)
    (tmp_path / "file").write_bytes(begins)
    with shelter(tmp_path / "file") as host, listening() as (address, heard):
        site.post("v3/load_model", key, url=host.url, model_id="odd", webhook=address)
        found = entry(site, key, "odd")
        call = heard.get(timeout=60)
    assert (found["status"], found["description"]) == ("model_failed", f"url leads to {said}")
    assert (call["body"]["status"], call["body"]["message"]) == ("failed", f"Processing failed: url leads to {said}")
    assert kept(site) <= before
    assert site.post("v3/delete_model", key, model_id="odd").status_code == 200


@pytest.mark.parametrize("length", [0x80, 0x4B50])
def test_a_header_whose_length_looks_like_a_pickle_or_a_zip_is_none(length: int) -> None:
    check_form(struct.pack("<Q", length))


def test_an_account_has_so_much_room(site: Site, host: Shelter) -> None:
    key = site.key()
    large = host.file.with_suffix(".large")
    with large.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with shelter(large) as other:
        site.post("v3/load_model", key, url=other.url, model_id="large")
        assert entry(site, key, "large")["description"] == "url is larger than 64 MB"
    site.post("v3/delete_model", key, model_id="large")


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"url": None}, 400, "url is required"),
        ({"model_id": None}, 400, "model_id is required"),
        ({"model_id": "../x"}, 400, "model_id must be up to 100 letters"),
        ({"model_id": "plain"}, 400, "model_id plain is a model of this server's operator"),
        ({"model_format": "ckpt"}, 400, "model_format must be safetensors or diffusers"),
        ({"model_format": "diffusers"}, 400, "url must be that of the folder's model_index.json"),
        (
            {"url": "http://a.example/model_index.json", "model_category": "lora"},
            400,
            "url must lead to one safetensors file",
        ),
        ({"model_visibility": "all"}, 400, "model_visibility must be public or private"),
        ({"url": "file:///etc/passwd"}, 400, "url must begin with http:// or https://"),
        ({"webhook": "ftp://here"}, 400, "webhook must be"),
        ({"model_type": "vae"}, 501, "This server installs checkpoints, LoRAs, ControlNets and embeddings"),
    ],
)
@pytest.mark.parametrize("path", ["v3/load_model", "v1/enterprise/load_model_v2"])
def test_what_cannot_be_installed_is_said_at_once(
    site: Site, key: str, path: str, given: dict[str, object], status: int, said: str
) -> None:
    reply = site.post(path, key, **GOOD | given)
    assert (reply.status_code, reply.json()["message"][: len(said)]) == (status, said)
