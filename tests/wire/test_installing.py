"""Installing a model through the API: what is asked, what is refused and in which words, and what is left of it when it is erased."""

from __future__ import annotations

import asyncio
import io
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

from safelight.errors import Invalid
from safelight.service import models
from safelight.service.makers import install
from safelight.service.makers.install import check_form
from tests.engine.checkpoints import write_sd1, write_single_file
from tests.whole.shelter import Shelter, shelter
from tests.wire.site import Site
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
    made = [site.made(who, model_id="in-shards")["meta"]["model"] for who in (key, site.key())]
    assert made == ["in-shards", "plain"]
    assert site.post("v3/delete_model", key, model_id="in-shards").headers["x-safelight-receipt"]
    eventually(lambda: kept(site) <= before and not shown.exists())
    assert engines not in site.shelf.shown


def kept(site: Site) -> set[Path]:
    return {path for path in (site.settings.data_dir / "blobs" / "model").rglob("*") if path.is_file()}


@pytest.mark.slow  # every judgement starts a program that needs seconds of processor time
def test_a_checkpoint_is_installed_used_with_what_goes_with_it_and_erased(site: Site, host: Shelter) -> None:
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
    check_embedding(site, host, other, site.key())
    check_vae(site, host, other, site.key())
    assert site.post("v3/delete_model", site.key(), model_id="mine").status_code == 404
    gone = site.post("v1/enterprise/delete_model", key, model_id="mine")
    assert (gone.status_code, gone.json()["message"]) == (200, "Model deleted on server")
    proof = {"key": key}
    receipt = f"/v1/erasures/{gone.headers['x-safelight-receipt']}"
    eventually(lambda: site.http.get(receipt, params=proof).json().get("bytes"))
    eventually(lambda: kept(site) <= before and engines not in site.shelf.shown)
    again = site.img2img(key, model_id="mine")
    assert again.json()["meta"]["model"] == "plain"


NAMED = ("/api/v7/models/{}", "/api/v6/model-search/{}", "/api/agents/v1/models/{}", "/v1/models/{}")


def check_hidden(site: Site, stranger: str, name: str) -> None:
    """As if there were none of that name."""
    listed = [each["model_id"] for each in site.http.get("/api/v7/models", params={"key": stranger}).json()["data"]]
    assert name not in listed
    for path in NAMED:
        alike = [site.http.get(path.format(each), headers={"key": stranger}) for each in (name, "never")]
        assert {reply.status_code for reply in alike} == {404}, path
        assert len({re.sub(f"{name}|never|[0-9a-f-]{{32,36}}", "it", reply.text) for reply in alike}) == 1, path


def check_embedding(site: Site, host: Shelter, key: str, other: str) -> None:
    """A word for the checkpoint that was just installed: its account's alone whatever it asks, in each dialect as that has it."""
    path = host.file.parent / "word.safetensors"
    save_file({"<wonder>": torch.zeros(2, 64)}, path)
    with shelter(path) as second:
        about = {"url": second.url, "model_id": "mycat", "model_category": "embeddings", "model_visibility": "public"}
        told = site.post("v3/upload_model", key, **about)
        found = entry(site, key, "mycat")
    assert "needs an operator's key" in told.headers["x-safelight-notes"]
    assert "is a model of yours already" in site.post("v3/load_model", key, **about).text
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
    check_hidden(site, other, "mycat")
    assert site.post("v3/delete_model", other, model_id="mycat").status_code == 404
    assert site.post("v3/delete_model", key, model_id="mycat").headers["x-safelight-receipt"]
    eventually(lambda: engines not in site.shelf.shown)
    assert site.img2img(key, **asked, embeddings_model="mycat").status_code == 400


def check_vae(site: Site, host: Shelter, key: str, other: str) -> None:
    """One built like that of the checkpoint that was just installed, by the page that is for these. It goes with its account."""
    with shelter(host.file.parent / "sd1" / "vae" / "diffusion_pytorch_model.safetensors") as second:
        told = site.post("v1/enterprise/load_vae", key, vae_url=second.url, vae_id="clear")
        found = entry(site, key, "clear")
    assert told.json()["message"] == "VAE load started"
    assert (found["description"], found["status"], found["model_category"]) == ("", "model_ready", "vae")
    engines = f"installed {told.json()['id']}"
    asked = {"prompt": "a cat", "seed": 3, "safety_checker": "no", "enhance_prompt": "no"}
    shown = {name: pictures(site, key, **asked, vae=name) for name in ("clear", "soft", "plain")}
    assert len({tuple(each) for each in shown.values()}) == 3
    assert site.made(key, **asked, vae_model="clear")["meta"]["vae"] == "clear"
    assert site.shelf.shown[engines].read_bytes() == second.file.read_bytes()
    refused = site.img2img(other, **asked, vae="clear").json()["message"]
    assert refused == "vae must name an autoencoder of this server: soft"
    for who, names in ((key, ["clear", "soft"]), (other, ["soft"])):
        listed = site.http.get("/sdapi/v1/sd-vae", headers={"Authorization": f"Bearer {who}"}).json()
        assert [each["model_name"] for each in listed] == names
    account = site.ask(site.services.accounts.authenticate(key))
    site.ask(site.services.erasure.close(account, lambda *_: None))
    eventually(lambda: engines not in site.shelf.shown)
    assert "clear" not in [each.name for each in site.ask(site.services.models.of(account))]


def pictures(site: Site, key: str, **asked: object) -> list[bytes]:
    reply = site.made(key, **asked)
    assert reply["meta"]["prompt"] == asked["prompt"]
    return [site.http.get(address).content for address in reply["output"]]


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


@pytest.mark.parametrize(("new", "said"), [(True, "a zip archive"), (False, "a pickle")])
def test_what_torch_saves_is_refused_by_what_it_is(new: bool, said: str) -> None:
    """As embeddings are often handed round, in .pt and .bin files."""
    saved = io.BytesIO()
    torch.save({"string_to_param": {"*": torch.zeros(2, 64)}}, saved, _use_new_zipfile_serialization=new)
    with pytest.raises(Invalid, match=f"url leads to {said}"):
        check_form(saved.getvalue()[:8])


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


def test_models_are_judged_one_at_a_time_and_an_account_installs_so_many(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each judge is a program that may take gigabytes."""
    key, at_once, most = site.key(), 0, 0

    async def judge(*_: object) -> dict[str, object]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return {"wrong": "is odd"}

    monkeypatch.setattr(install, "_ask", judge)
    (tmp_path / "file").write_bytes(struct.pack("<Q", 2) + b"{}")
    names = [f"odd-{number}" for number in range(models.MOST_AT_ONCE)]
    with shelter(tmp_path / "file") as host:
        host.gate.clear()
        told = [site.post("v3/load_model", key, url=host.url, model_id=name) for name in (*names, "too-many")]
        host.gate.set()
        assert [entry(site, key, name)["description"] for name in names] == ["url is odd"] * len(names)
    assert [reply.status_code for reply in told] == [200] * len(names) + [429]
    assert told[-1].headers["retry-after"] == str(models.RETRY_AFTER)
    assert most == 1


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
        (
            {"url": "http://a.example/model_index.json", "model_type": "vae"},
            400,
            "url must lead to one safetensors file, for an autoencoder",
        ),
    ],
)
@pytest.mark.parametrize("path", ["v3/load_model", "v1/enterprise/load_model_v2"])
def test_what_cannot_be_installed_is_said_at_once(
    site: Site, key: str, path: str, given: dict[str, object], status: int, said: str
) -> None:
    reply = site.post(path, key, **GOOD | given)
    assert (reply.status_code, reply.json()["message"][: len(said)]) == (status, said)
