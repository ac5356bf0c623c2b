"""Installing a model through the API of a running server: from a slow and broken host into every worker, and away again."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from tests.engine import checkpoints
from tests.whole.running import SAFELIGHT, Json, Running, environment, eventually
from tests.whole.shelter import shelter

SMALL: Json = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 2, "seed": 4}
PLAIN: Json = {"safety_checker": "no", "enhance_prompt": "no"}
PADDING = 170 * 2**20  # bytes, of the kind that a checkpoint's averaged weights are: passed over


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another random checkpoint than the server's own, of 200 MB."""
    folder = tmp_path_factory.mktemp("stranger")
    path = checkpoints.write_single_file(
        folder / "one.safetensors", checkpoints.write_sd1(folder / "sd1", seed=5, clip=True)
    )
    weights = load_file(path) | {"model_ema.padding": torch.zeros(PADDING, dtype=torch.uint8)}
    save_file(weights, path)
    return path


@contextmanager
def another_worker(server: Running) -> Iterator[None]:
    """As on a second machine."""
    settings = {"SAFELIGHT_PRIVATE_HOSTS": '["127.0.0.1"]', "SAFELIGHT_HEARTBEAT_SECONDS": "0.5"}
    log = server.data.with_suffix(".second")
    with log.open("wb") as lines:
        told = environment(server.data, SAFELIGHT_MODEL=str(own_model(server)), **settings)
        process = subprocess.Popen([*SAFELIGHT, "worker"], env=told, stderr=lines)
    try:
        eventually(lambda: b"worker ready" in log.read_bytes(), 120, "a second worker")
        yield
    finally:
        process.terminate()
        process.wait(90)


def own_model(server: Running) -> Path:
    found = server.the_worker().environ()
    return Path(json.loads(found["SAFELIGHT_MODELS"])[found["SAFELIGHT_MODEL"]])


def installed(server: Running, name: str, url: str, category: str = "stable_diffusion") -> str:
    """What became of it: ready, or the sentence that says why not."""
    told = server.post("v3/load_model", url=url, model_id=name, model_format="safetensors", model_category=category)
    assert told["message"] == "model load started", told
    entry = eventually(lambda: _settled(server, name), 240, f"{name} to be installed")
    return str(entry["description"] or entry["status"])


def _settled(server: Running, name: str) -> Json | None:
    entry: Json = server.get(f"/api/v7/models/{name}?key={server.key}").json()["data"]
    return entry if entry["status"] in ("model_ready", "model_failed") else None


def listed(server: Running) -> list[str]:
    return [entry["model_id"] for entry in server.answer("v4/dreambooth/model_list").json()]


def a_lora(path: Path, checkpoint: Path) -> Path:
    """For the folder that the checkpoint was made of."""
    unet = StableDiffusionPipeline.from_pretrained(checkpoint.parent / "sd1", local_files_only=True).unet
    pairs = checkpoints.lora_pairs(unet, r"attn2\.to_[kv]$", 4, 1)
    return checkpoints.write_kohya_lora(path, {"lora_unet": pairs})


def check_controlnet(server: Running, checkpoint: Path) -> None:
    """One that steers the installed checkpoint: it changes the picture while it is here, and is unknown afterwards."""
    folder = checkpoints.write_controlnet(checkpoint.parent / "lines", checkpoint.parent / "sd1")
    with shelter(checkpoints.write_controlnet_file(folder / "lines.safetensors", folder)) as host:
        assert installed(server, "lines", host.url, "controlnet") == "model_ready"
    photo = "data:image/png;base64," + base64.b64encode(server.picture(server.draw(**SMALL))).decode()
    followed = {"controlnet_model": "lines", "controlnet_type": "canny", "init_image": photo, "model_id": "stranger"}
    pictures = {
        server.picture(server.post("v5/controlnet", **followed, **SMALL, **PLAIN, controlnet_conditioning_scale=scale))
        for scale in ("0", "1")
    }
    assert len(pictures) == 2
    assert server.answer("v3/delete_model", model_id="lines").status_code == 200
    assert server.answer("v5/controlnet", **followed, **SMALL).status_code == 501


def kept(server: Running) -> list[Path]:
    return [path for path in (server.data / "blobs" / "model").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_model_from_a_broken_host_is_used_by_two_workers_and_erased(
    server: Running, stranger: Path, tmp_path: Path
) -> None:
    size = stranger.stat().st_size
    assert size > 180 * 10**6
    with another_worker(server), shelter(stranger, size // 4, size // 2) as host:
        assert installed(server, "stranger", host.url) == "model_ready"
        assert host.begun == [0, size // 4, size // 2]
        assert sum(path.stat().st_size for path in kept(server)) >= size
        own = server.picture(server.draw(**SMALL))
        pictures: dict[str, bytes] = {}

        def made_by_both() -> bool:
            jobs = [
                server.post("v6/images/text2img", model_id="stranger", instant_response="yes", **SMALL, **PLAIN)["id"]
                for _ in range(4)
            ]
            for job in jobs:
                reply = server.fetched(job)
                assert reply["meta"]["model_id"] == "stranger"
                ((worker,),) = server.rows(f"SELECT worker FROM jobs WHERE id = {job}")
                pictures[worker] = server.picture(reply)
            return len(pictures) == 2

        eventually(made_by_both, 120, "both workers to have made one")
        assert len(set(pictures.values())) == 1
        assert own not in pictures.values()
        plain = next(iter(pictures.values()))
        check_controlnet(server, stranger)
        with shelter(a_lora(tmp_path / "ink.safetensors", stranger)) as second:
            assert installed(server, "ink-lora", second.url, "lora") == "model_ready"
        inked = server.draw(model_id="stranger", lora_model="ink-lora", lora_strength="2", **SMALL)
        assert server.picture(inked) not in (plain, own)
        assert server.answer("v3/delete_model", model_id="ink-lora").status_code == 200
        refused = server.answer("v3/text2img", lora_model="ink-lora", **SMALL).json()["message"]
        assert refused.startswith("lora_model must name LoRAs of this server")
        with shelter(stranger.parent / "sd1", 300) as folder:
            assert installed(server, "foldered", folder.url) == "model_ready"
        same = server.draw(model_id="foldered", **SMALL)
        assert (same["meta"]["model"], server.picture(same)) == ("foldered", plain)
        assert server.answer("v3/delete_model", model_id="foldered").status_code == 200
        gone = server.answer("v1/enterprise/delete_model", model_id="stranger")
        assert gone.json()["message"] == "Model deleted on server"
        receipt = gone.headers["X-Safelight-Receipt"]
        proof = f"SELECT id FROM receipts WHERE id = '{receipt}' AND verified_at IS NOT NULL"
        eventually(lambda: server.rows(proof), 120, "proof")
    assert not kept(server)
    assert "stranger" not in listed(server)
    again = server.draw(model_id="stranger", **SMALL)
    assert (again["meta"]["model"] != "stranger", server.picture(again)) == (True, own)
