"""The `webuiapi` package, unchanged, against this server, and what other tools of AUTOMATIC1111's web UI ask first."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from webuiapi import ControlNetUnit, WebUIApi

from safelight.errors import Invalid
from safelight.wire.a1111.pictures import fit, start_from, to_bitmap
from safelight.wire.a1111.prompt import read_prompt
from safelight.wire.a1111.read import read_model
from safelight.wire.a1111.routes import READ, WRITE
from safelight.wire.a1111.samplers import SAMPLERS, SCHEDULERS, find_sampler
from safelight.wire.a1111.write import read_text

from .site import Json, Site, heard
from .test_jobs import slow

SMALL: Any = {"width": 64, "height": 64, "steps": 4}


@pytest.fixture
def api(site: Site, key: str) -> Iterator[WebUIApi]:
    """With the key as the password of Basic authentication; whatever stands for the user."""
    api = WebUIApi(baseurl=f"{site.settings.base_url}/sdapi/v1", username="me", password=key)
    yield api
    api.session.close()


def ask(site: Site, key: str, method: str, path: str, **body: object) -> httpx.Response:
    given: Any = {"json": body} if method == "POST" else {}
    return site.http.request(method, f"/sdapi/v1/{path}", auth=("me", key), **given)


def navy(size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.new("RGB", size, "navy")


def left_half() -> Image.Image:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    return mask


def test_txt2img_and_what_is_told_of_it(api: WebUIApi) -> None:
    made = api.txt2img(
        prompt="a red apple <lora:ink:0.5>", negative_prompt="blurry", seed=7, batch_size=2, cfg_scale=6, **SMALL
    )
    assert [image.size for image in made.images] == [(64, 64)] * 2
    assert (made.info["all_seeds"], made.info["seed"]) == ([7, 8], 7)
    assert (made.info["sampler_name"], made.info["steps"], made.info["cfg_scale"]) == ("Euler a", 4, 6.0)
    assert made.info["sd_model_name"] == "plain"
    assert made.info["prompt"] == "a red apple <lora:ink:0.5>"
    assert made.parameters["prompt"] == made.info["prompt"]
    assert made.info["infotexts"][1] == (
        "a red apple <lora:ink:0.5>\nNegative prompt: blurry\n"
        "Steps: 4, Sampler: Euler a, Schedule type: Default, CFG scale: 6.0, Seed: 8, Size: 64x64, Model: plain"
    )
    assert [image.info["parameters"] for image in made.images] == made.info["infotexts"]


def test_hires_fix_draws_small_first_and_then_over(site: Site, api: WebUIApi, monkeypatch: pytest.MonkeyPatch) -> None:
    told = heard(site, monkeypatch)
    larger = {
        "enable_hr": True,
        "hr_resize_x": 128,
        "hr_resize_y": 96,
        "hr_second_pass_steps": 6,
        "denoising_strength": 0.5,
    }
    made = api.txt2img(prompt="a house", seed=7, batch_size=2, hr_upscaler="Lanczos", **SMALL, **larger)
    assert [image.size for image in made.images] == [(128, 96)] * 2
    assert [(each.width, each.height, each.seed, each.samples, each.steps) for each in told] == [
        (64, 64, 7, 2, 4),
        (128, 96, 7, 1, 6),
        (128, 96, 8, 1, 6),
    ]
    shown = [each.init_image for each in told]
    assert shown[0] is None
    assert [pixels is not None and pixels.shape for pixels in shown[1:]] == [(48, 64, 3)] * 2  # the middle of a square
    assert [each.strength for each in told[1:]] == [0.5, 0.5]
    assert (
        "Size: 64x64, Model: plain, Denoising strength: 0.5, Hires resize: 128x96, Hires steps: 6"
        in made.info["infotexts"][0]
    )


def test_png_info_reads_what_was_written(api: WebUIApi) -> None:
    made = api.txt2img(prompt="ein Apfel, größer 苹果", seed=7, scheduler="karras", sampler_name="DPM++ 2M", **SMALL)
    told = api.png_info(made.image)
    assert told.info == made.info["infotexts"][0]
    assert told.parameters["Prompt"] == "ein Apfel, größer 苹果"
    assert (told.parameters["Sampler"], told.parameters["Schedule type"], told.parameters["Seed"]) == (
        "DPM++ 2M",
        "Karras",
        "7",
    )
    assert api.png_info(navy()).json == {"info": "", "items": {}, "parameters": {}}


def test_a_picture_is_a_job_like_any_other_and_rests_without_its_text(site: Site, api: WebUIApi, key: str) -> None:
    api.txt2img(prompt="a unique pear", **SMALL)
    (job,) = site.http.get("/v1/jobs", params={"search": "unique"}, headers={"key": key}).json()["jobs"]
    assert b"parameters" not in site.http.get(job["output"][0]).content
    site.http.delete(f"/v1/jobs/{job['id']}", headers={"key": key})
    assert site.http.get(job["output"][0]).status_code == 404


def test_the_lora_of_the_prompt_and_the_sampler_reach_the_engine(api: WebUIApi) -> None:
    def drawn(**fields: Any) -> bytes:
        return bytes(api.txt2img(**{"prompt": "a house", "seed": 1, **SMALL, **fields}).image.tobytes())

    told = [
        drawn(),
        drawn(prompt="a house <lora:ink:0.5>"),
        drawn(prompt="a house <lora:ink:0.8>"),
        drawn(sampler_name="DDIM"),
        drawn(sampler_name="DPM++ 2M"),
        drawn(sampler_name="DPM++ 2M", scheduler="exponential"),
        drawn(override_settings={"CLIP_stop_at_last_layers": 2}),
    ]
    assert len(set(told)) == len(told)
    assert drawn(sampler_name="DPM++ 2M Karras") == drawn(sampler_name="DPM++ 2M")  # as the web UI chooses by itself


def test_img2img_starts_from_the_picture(api: WebUIApi) -> None:
    made = api.img2img(images=[navy()], prompt="a house", denoising_strength=0.25, **SMALL)
    assert made.info["denoising_strength"] == 0.25
    assert (made.parameters["init_images"], made.parameters["denoising_strength"]) == (None, 0.25)
    assert np.abs(np.asarray(made.image, float) - (0, 0, 128)).mean() < 40


@pytest.mark.parametrize("invert", [0, 1])
def test_a_mask_is_painted_and_the_rest_is_kept(api: WebUIApi, invert: int) -> None:
    made = api.img2img(
        images=[navy()], mask_image=left_half(), mask_blur=0, inpainting_fill=1, inpainting_mask_invert=invert,
        prompt="a house", **SMALL,
    )  # fmt: skip
    picture = np.asarray(made.image)
    kept, painted = (picture[:, 32:], picture[:, :32]) if not invert else (picture[:, :32], picture[:, 32:])
    assert (kept == (0, 0, 128)).all()
    assert len(np.unique(painted.reshape(-1, 3), axis=0)) > 100


def test_resize_modes() -> None:
    wide = Image.new("RGB", (128, 64), "navy")
    wide.paste("red", (0, 0, 16, 64))
    bitmap = to_bitmap(wide)
    stretched, cropped, filled = (np.asarray(fit(bitmap, (64, 64), mode)) for mode in (0, 1, 2))
    assert tuple(stretched[32, 2]) == (255, 0, 0)
    assert (cropped == (0, 0, 128)).all()
    assert tuple(filled[2, 2]) == tuple(filled[32, 2]) == tuple(filled[60, 2]) == (255, 0, 0)


def test_what_lies_under_a_mask() -> None:
    picture = navy()
    picture.paste("red", (0, 0, 32, 64))
    original, filled, noise, grey = (np.asarray(start_from(picture, left_half(), how, 1), int) for how in (1, 0, 2, 3))
    assert tuple(original[32, 5]) == (255, 0, 0)
    assert abs(filled[:, 16:32] - (0, 0, 128)).max() < 20
    assert noise[:, :32].std() > 60
    assert tuple(grey[32, 5]) == (128, 128, 128)
    for each in (original, filled, noise, grey):
        assert (each[:, 32:] == (0, 0, 128)).all()


def test_progress_and_interrupt_are_of_ones_own_work(site: Site, api: WebUIApi, key: str) -> None:
    assert (api.get_progress()["progress"], api.get_progress()["state"]["job_count"]) == (0.0, 0)
    stranger, seen = WebUIApi(baseurl=api.baseurl, username="", password=""), []
    stranger.set_auth("you", site.key())
    with slow(site, 0.2), ThreadPoolExecutor(1) as pool:
        making = pool.submit(api.txt2img, prompt="a house", **SMALL | {"steps": 12})
        while not making.done():
            seen.append(api.get_progress())
            assert stranger.get_progress()["progress"] == 0.0
    assert {each["state"]["sampling_step"] for each in seen} > {0}
    assert max(each["progress"] for each in seen) > 0.3
    shown = [each["current_image"] for each in seen if each["current_image"]]
    assert Image.open(io.BytesIO(base64.b64decode(shown[-1]))).format == "PNG"
    with site.closed_gate(), ThreadPoolExecutor(1) as pool:
        making = pool.submit(api.txt2img, prompt="a house", **SMALL)
        while api.get_progress()["state"]["job_count"] == 0:
            pass
        stranger.interrupt()
        assert api.get_progress()["state"]["job_count"] == 1
        other = site.held_back(key)["id"]  # by another dialect: not the web UI's to stop
        threading.Timer(0.2, api.interrupt).start()
        assert making.result(60).images == []
        assert site.http.get(f"/v1/jobs/{other}", headers={"key": key}).status_code == 200
    stranger.session.close()


def test_options_are_of_the_account_alone(site: Site, api: WebUIApi) -> None:
    stranger = WebUIApi(baseurl=api.baseurl, username="you", password=site.key())
    assert api.util_get_current_model() == "plain"
    api.util_set_model("other")
    assert (api.util_get_current_model(), stranger.util_get_current_model()) == ("other", "plain")
    assert api.txt2img(prompt="a house", **SMALL).info["sd_model_name"] == "other"
    assert stranger.txt2img(prompt="a house", **SMALL).info["sd_model_name"] == "plain"
    override = {"sd_model_checkpoint": "plain.safetensors [0123456789]"}
    assert api.txt2img(prompt="a house", override_settings=override, **SMALL).info["sd_model_name"] == "plain"
    assert api.txt2img(prompt="a house", **SMALL).info["sd_vae_name"] is None
    assert api.set_options({"sd_vae": "soft.safetensors", "CLIP_stop_at_last_layers": 2}) is None
    assert (api.get_options()["CLIP_stop_at_last_layers"], api.get_options()["sd_vae"]) == (2, "soft")
    assert api.txt2img(prompt="a house", **SMALL).info["sd_vae_name"] == "soft"
    override = {"sd_vae": "Automatic"}
    assert api.txt2img(prompt="a house", override_settings=override, **SMALL).info["sd_vae_name"] is None
    refused = ask(site, site.key(), "POST", "options", sd_vae="harsh")
    assert "sd_vae names harsh, which this server does not have. It has: soft" in refused.text
    stranger.session.close()


def test_enlarging_keeps_nothing(site: Site, api: WebUIApi) -> None:
    before = site.holdings()
    assert api.extra_single_image(navy(), upscaler_1="Lanczos", upscaling_resize=2).image.size == (128, 128)
    to_size = api.extra_single_image(navy(), resize_mode=1, upscaling_resize_w=96, upscaling_resize_h=32)
    assert (to_size.image.size, to_size.info) == (
        (96, 32),
        "<p>Enlarged by resampling.</p>",
    )
    by_network = api.extra_single_image(navy(), upscaler_1="safelight-enlarger", upscaling_resize=4)
    assert (by_network.image.size, by_network.info) == ((256, 256), "<p>Enlarged by safelight-enlarger.</p>")
    batch = api.extra_batch_images([navy(), navy((32, 16))], upscaler_1="Nearest", upscaling_resize=3)
    assert [image.size for image in batch.images] == [(192, 192), (96, 48)]
    with pytest.raises(RuntimeError, match="upscaler_1 must be one of None, Lanczos, Nearest, safelight-enlarger"):
        api.extra_single_image(navy(), upscaler_1="R-ESRGAN 4x+")
    after = site.holdings()
    assert (after["files"], after["requests"]) == (before["files"], before["requests"])


def test_every_list_of_the_package_is_answered(api: WebUIApi) -> None:
    assert api.util_get_model_names() == ["other", "plain"]
    assert api.util_get_sampler_names() == sorted(sampler.name for sampler in SAMPLERS)
    assert api.util_get_scheduler_names() == sorted(SCHEDULERS)
    assert [lora["name"] for lora in api.get_loras()] == ["ink", "wash"]
    assert [each["name"] for each in api.get_upscalers()] == [
        "None",
        "Lanczos",
        "Nearest",
        "safelight-enlarger",
        "deep",
    ]
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert api.get_memory()["ram"]["total"] > 0
    assert api.get_cmd_flags()["api"] is True
    assert [vae["model_name"] for vae in api.get_sd_vae()] == ["soft"]
    for name in ("latent_upscale_modes", "hypernetworks", "face_restorers", "realesrgan_models", "prompt_styles"):
        assert getattr(api, f"get_{name}")() == []
    assert api.refresh_checkpoints() is None
    api.util_wait_for_ready()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"prompt": "<lora:nobody:1>"},
            "prompt names the LoRA nobody, which this server does not have. It has: ink, wash",
        ),
        ({"prompt": "<hypernet:x:1>"}, "prompt names the hypernetwork x; this server has none"),
        ({"sampler_name": "DPM fast"}, "sampler_name must be one of DPM++ 2M"),
        (
            {"scheduler": "sgm_uniform"},
            "scheduler must be one of automatic, uniform, normal, karras, exponential, beta",
        ),
        (
            {"controlnet_units": [ControlNetUnit()], "alwayson_scripts": {}},
            "alwayson_scripts must name ControlNets of this server: there are none",
        ),
        ({"script_name": "x/y plot"}, "script_name names a script; this server has none"),
        ({"enable_hr": True, "hr_scale": 20}, "hr_scale must be between 1 and 8"),
        (
            {"enable_hr": True, "hr_resize_x": 1024, "width": 64, "height": 512},
            "hr_scale must leave no side longer than 1024 pixels",
        ),
        (
            {"enable_hr": True, "hr_prompt": "a dog"},
            "hr_prompt is not possible on this server: the second pass is as the first",
        ),
        ({"restore_faces": True}, "restore_faces is not possible on this server: it has no face restorer"),
        ({"width": 2048}, "width must be between 64 and 1024"),
        ({"batch_size": 8, "n_iter": 8}, "n_iter times batch_size must be at most 16"),
    ],
)
def test_what_is_not_here_is_refused_by_name(api: WebUIApi, fields: Json, said: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        api.txt2img(**{"prompt": "a house", **SMALL, **fields})
    status, text = caught.value.args
    body = json.loads(text)
    assert (status, body["error"]) == (422, "Invalid")
    assert body["detail"].startswith(said)


def test_scripts_that_are_switched_off_do_no_harm(site: Site, key: str) -> None:
    scripts = {"ControlNet": {"args": []}, "ADetailer": {"args": [False, {"ad_model": "face"}]}, "x": {}}
    assert ask(site, key, "POST", "txt2img", prompt="a house", alwayson_scripts=scripts, **SMALL).status_code == 200


def test_failures_and_wrong_keys(site: Site, api: WebUIApi) -> None:
    with pytest.raises(RuntimeError, match="could not be made"):
        api.txt2img(prompt="a mistake", **SMALL)
    with pytest.raises(RuntimeError, match="init_images must be a list of one picture"):
        api.img2img(images=[navy(), navy()], prompt="a house", **SMALL)
    refused = ask(site, "wrong", "GET", "options")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Basic")
    for auth in (None, ("", ""), ("me", "")):
        assert site.http.get("/sdapi/v1/options", auth=auth).status_code == 401
    assert site.http.get("/sdapi/v1/nothing").json()["error"] == "NotFound"


@pytest.mark.parametrize("way", ["bearer", "key", "user"])
def test_a_key_may_come_as_everywhere(site: Site, key: str, way: str) -> None:
    headers = {"bearer": {"Authorization": f"Bearer {key}"}, "key": {"key": key}}.get(way, {})
    auth = (key, "") if way == "user" else None
    assert site.http.get("/sdapi/v1/sd-models", headers=headers, auth=auth).status_code == 200


def test_every_route_wants_a_key(site: Site) -> None:
    for method, paths in (("GET", READ), ("POST", WRITE)):
        for path in paths:
            assert site.http.request(method, f"/sdapi/v1/{path}").status_code == 401, path


def test_open_webui_asks_as_its_source_does(site: Site, key: str) -> None:
    """Its router for pictures: is it there, which models, choose one, draw."""
    assert ask(site, key, "GET", "options").json()["sd_model_checkpoint"] == "plain"
    assert {"title", "model_name"} <= ask(site, key, "GET", "sd-models").json()[0].keys()
    assert ask(site, key, "POST", "options", sd_model_checkpoint="other", sd_vae="Automatic").status_code == 200
    drawn = ask(
        site, key, "POST", "txt2img", prompt="a house", batch_size=1, width=64, height=64, steps=4, negative_prompt=""
    )
    assert json.loads(drawn.json()["info"])["sd_model_name"] == "other"


def test_sillytavern_asks_as_its_source_does(site: Site, key: str) -> None:
    for path in ("options", "upscalers", "latent-upscale-modes", "sd-vae", "samplers", "schedulers", "sd-models"):
        assert ask(site, key, "GET", path).status_code == 200, path
    assert "forge_preset" not in ask(site, key, "GET", "options").json()
    body: Json = {
        "url": "http://127.0.0.1:7860", "auth": "me:key", "prompt": "a house", "negative_prompt": "", "sampler_name": "Euler a",
        "scheduler": "normal", "steps": 4, "cfg_scale": 7, "width": 64, "height": 64, "restore_faces": False, "enable_hr": False,
        "hr_upscaler": "Latent", "hr_scale": 2, "denoising_strength": 0.7, "hr_second_pass_steps": 0, "seed": -1,
        "override_settings": {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"}, "override_settings_restore_afterwards": True,
        "clip_skip": 1, "save_images": True, "send_images": True, "do_not_save_grid": False, "do_not_save_samples": False,
    }  # fmt: skip
    assert len(ask(site, key, "POST", "txt2img", **body).json()["images"]) == 1


def test_samplers_are_all_possible() -> None:
    """Each with every scheduler, as the engine compiles them."""
    from safelight.engine.generation import Spacing
    from safelight.engine.samplers import ALGORITHM_TYPES
    from safelight.engine.samplers import SAMPLERS as OURS

    for sampler in SAMPLERS:
        for scheduler in SCHEDULERS:
            found, spacing = find_sampler(sampler.name, scheduler)
            assert found.ours in OURS
            assert spacing in set(Spacing)
        assert sampler.algorithm_type in (None, *ALGORITHM_TYPES.get(sampler.ours, ()))
    with pytest.raises(Invalid):
        find_sampler("", "")


@pytest.mark.parametrize(
    ("prompt", "left", "loras"),
    [
        ("a cat", "a cat", ()),
        ("a  cat, (big:1.2)", "a  cat, (big:1.2)", ()),
        ("a cat <lora:ink:0.8>, sharp", "a cat , sharp", (("ink", 0.8),)),
        ("<lora:ink> <lyco:wash:-1:x>", "", (("ink", 1.0), ("wash", -1.0))),
    ],
)
def test_tags_of_a_prompt(prompt: str, left: str, loras: tuple[tuple[str, float], ...]) -> None:
    assert read_prompt(prompt, {"ink", "wash"}) == (left, loras)


def test_titles_and_texts() -> None:
    assert [read_model(name) for name in ("a.safetensors [0123456789]", "a", None, "a.safetensors")] == [
        "a",
        "a",
        "",
        "a",
    ]
    assert read_text("just words") == {"Prompt": "just words"}
    assert read_text('a\nb\nNegative prompt: c\nSteps: 4, Model: "x, y", Seed: 1') == {
        "Prompt": "a\nb",
        "Negative prompt": "c",
        "Steps": "4",
        "Model": "x, y",
        "Seed": "1",
    }


@pytest.mark.parametrize(
    ("setting", "weighed"), [("a1111", {"a1111"}), ("all", {"a1111", "modelslab", "openai"}), ("none", set())]
)
def test_whose_prompts_weigh_words(site: Site, setting: str, weighed: set[str]) -> None:
    settings = site.settings.model_copy(update={"prompt_weights": setting})
    assert {dialect for dialect in ("a1111", "modelslab", "openai") if settings.weighs(dialect)} == weighed
