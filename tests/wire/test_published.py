"""Published clients with their own defaults, which name models that are not here: a picture, one in the making, a wrong key, no money.

`StableDiffusionAPI` 0.0.5 has the vendor's host written in, so where that name leads is all that is set. What the others do beside
this is in the files of their names. Those of ``heard.py`` are said again as they were heard, and read as they read.
"""

from __future__ import annotations

import http.client
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from .heard import HEARD, Heard
from .site import Json, Site
from .test_command_line import run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of their own pydantic code
    from modelslab_py.core.apis.community import Community
    from modelslab_py.core.client import Client
    from modelslab_py.schemas.community import Text2Image
    from StableDiffusionAPI import Community as HostedModels
    from StableDiffusionAPI.SetKey import SetKey
    from StableDiffusionAPI.Text2Img import Text2Img_Threader as draw  # their name

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # they call pydantic's old names


@pytest.fixture
def led_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Site], None]]:
    """Makes the host that is written into a client lead to a server, and tidies up: it leaves connections and threads behind."""
    connections: list[http.client.HTTPConnection] = []

    def lead(site: Site) -> None:
        def connect(_host: str) -> http.client.HTTPConnection:
            connections.append(http.client.HTTPConnection("127.0.0.1", site.settings.port))
            return connections[-1]

        monkeypatch.setattr(http.client, "HTTPSConnection", connect)

    yield lead
    for thread in threading.enumerate():
        if thread.name.endswith(("(download_img)", "(Text2Img_Threader)")):
            thread.join(20)
    for connection in connections:
        connection.close()


def downloaded(path: Path, seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (path.exists() and path.stat().st_size):
        time.sleep(0.05)
    return path.exists() and path.read_bytes().startswith(b"\x89PNG")


def waited_for(site: Site, key: str, heard: Heard, answer: Json, seconds: float = 60) -> Json:
    until = time.monotonic() + seconds
    while (found := heard.look(site, key, answer["id"]))["status"] == "processing" and time.monotonic() < until:
        time.sleep(0.05)
    return found


def sdk(site: Site, key: str) -> Community:
    client = Client(key, fetch_retry=600, fetch_timeout=0.1)
    client.base_url = f"{site.settings.base_url}/api/"
    return Community(client)


def test_stable_diffusion_api_draws(
    site: Site, key: str, led_to: Callable[[Site], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    led_to(site)
    SetKey(key)
    draw("a red apple", 512, 512, str(tmp_path / "drawn.png"))
    HostedModels.Text2Img("midjourney", "a red apple", str(tmp_path / "hosted.png"))
    assert downloaded(tmp_path / "drawn.png")
    assert downloaded(tmp_path / "hosted.png")
    assert "Status: success" in capsys.readouterr().out


@pytest.mark.parametrize("heard", HEARD, ids=lambda one: one.client)
def test_what_was_heard_draws(site: Site, key: str, heard: Heard) -> None:
    body = heard.draw(site, key).raise_for_status().json()
    found = waited_for(site, key, heard, body)
    assert (found["status"], "error" in body) == ("success", False)
    assert found["output"] == (body["output"] or body["future_links"])
    assert site.http.get(found["output"][0]).content.startswith(b"\x89PNG")


@pytest.mark.parametrize("heard", HEARD, ids=lambda one: one.client)
def test_what_was_heard_is_refused(shop: Site, heard: Heard) -> None:
    for key, status, said in (
        ("of another service", 401, "Invalid API key"),
        (shop.key(), 402, "Insufficient credits. Please add more credits to continue."),
    ):
        reply = heard.draw(shop, key)
        assert (reply.status_code, reply.json()["status"]) == (status, "error")
        if heard.complaint:
            assert reply.json()[heard.complaint] == said


def test_all_wait_for_a_picture_in_the_making(site: Site, key: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1 + len(HEARD)) as caller:
        with site.closed_gate():  # until the server has held all as long as it does
            words = ("--api-key", key, "generate", "image", "--prompt", "a red apple", "--output-dir", str(tmp_path))
            commanded = caller.submit(run, site, tmp_path, key, *words)
            asked = [caller.submit(heard.draw, site, key) for heard in HEARD]
            body = sdk(site, key).text_to_image(Text2Image(prompt="a red apple"))
            answers = [one.result(60).json() for one in asked]
            assert {body["status"]} | {answer["status"] for answer in answers} == {"processing"}
            pending = [heard.look(site, key, answer["id"]) for heard, answer in zip(HEARD, answers, strict=True)]
            assert {answer["status"] for answer in pending} == {"processing"}
        assert sdk(site, key).fetch(str(body["id"]))["output"] == body["future_links"]
        for heard, answer in zip(HEARD, answers, strict=True):
            assert isinstance(answer["eta"], int), heard.client  # agno waits for no other
            assert waited_for(site, key, heard, answer)["output"] == answer["future_links"], heard.client
        done = commanded.result(60)
    assert (done.returncode, "Saved to" in done.stdout, len(list(tmp_path.glob("image_*.png")))) == (0, True, 1)


def test_stable_diffusion_api_waits_as_long_as_it_is_told(
    site: Site, key: str, led_to: Callable[[Site], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    led_to(site)
    SetKey(key)
    told: list[float] = []

    def sleep(seconds: float) -> None:
        told.append(seconds)
        site.engine.gate.set()
        site.holdings()  # once nothing is under way any more

    monkeypatch.setattr("StableDiffusionAPI.Text2Img.time", SimpleNamespace(sleep=sleep))
    with site.closed_gate():
        draw("a red apple", 512, 512, str(tmp_path / "drawn.png"))
    assert downloaded(tmp_path / "drawn.png")
    assert told[0] > 0


@pytest.mark.parametrize(("which", "status", "code"), [("wrong key", 401, 3), ("empty wallet", 402, 6)])
def test_all_are_refused(
    shop: Site, led_to: Callable[[Site], None], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    which: str, status: int, code: int,
) -> None:  # fmt: skip
    key = shop.key() if which == "empty wallet" else "of another service"
    led_to(shop)
    SetKey(key)
    HostedModels.Text2Img_Threader("midjourney", "a red apple", 512, 512, str(tmp_path / "hosted.png"))
    assert "Status: error" in capsys.readouterr().out
    with pytest.raises(Exception, match=f"status code {status}"):
        sdk(shop, key).text_to_image(Text2Image(prompt="a red apple"))
    done = run(shop, tmp_path, key, "--api-key", key, "generate", "image", "--prompt", "a red apple")
    assert done.returncode == code, done.stderr
    assert list(tmp_path.glob("*.png")) == []


def test_the_command_line_fetches_what_it_did_not_wait_for(site: Site, key: str, tmp_path: Path) -> None:
    number = str(site.made(key)["id"])
    done = run(
        site, tmp_path, key, "--api-key", key, "generate", "fetch", "--id", number, "--output-dir", str(tmp_path)
    )
    assert (done.returncode, len(list(tmp_path.glob("image_*.png")))) == (0, 1), done.stderr


def test_the_other_package_of_that_name_has_a_key_written_in(
    site: Site, led_to: Callable[[Site], None], tmp_path: Path
) -> None:
    from StableDiffusionAPI.StableDiffusionAPI import StableDiffusionAPI as SDAPI  # noqa: N817  # that of SDAPI 0.0.1

    led_to(site)
    with pytest.raises(KeyError, match="output"):  # what it makes of a refusal
        SDAPI("a red apple", 512, 512, 1, str(tmp_path / "drawn.png"))
