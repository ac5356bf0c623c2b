"""Programs in web pages: what preflights are answered, and the vendor's own JavaScript in a real browser from another origin."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from safelight.wire import server

from .site import PHOTO, Json, Site

ORIGIN = "https://app.example"
ASKS = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,key",
}
OPEN = (
    "/api/v3/img2img",
    "//api/v6/images/text2img/",
    "/v1/images/deleteimagestask",
    "/generations/a-0.png",
    "/api/new",
)
CLOSED = ("/docs", "/docs/docs.js", "/openapi.json", "/healthz", "/metrics", "/")


def allowed(headers: Json) -> Json:
    return {name: value for name, value in headers.items() if name.lower().startswith("access-control-")}


@pytest.mark.parametrize("path", OPEN)
def test_a_preflight_needs_no_key_and_allows_any_origin(site: Site, path: str) -> None:
    asked = ASKS | {"Access-Control-Request-Private-Network": "true"}
    reply = site.http.options(f"{site.settings.base_url}{path}", headers=asked)
    assert reply.status_code == 200
    found = allowed(dict(reply.headers))
    assert "POST" in found.pop("access-control-allow-methods")
    assert found == {
        "access-control-allow-origin": "*",
        "access-control-allow-headers": "content-type,key",
        "access-control-max-age": "7200",
        "access-control-allow-private-network": "true",
    }


def test_every_reply_can_be_read_errors_and_receipts_too(site: Site, key: str) -> None:
    origin = {"Origin": ORIGIN}
    for reply in (
        site.http.post("/api/v5/clear_cache", json={"key": key}, headers=origin),
        site.http.post("/api/v3/img2img", json={}, headers=origin),
        site.http.post("/api/nothing", json={}, headers=origin),
        site.http.get(site.made(key)["output"][0], headers=origin),
    ):
        assert reply.headers["access-control-allow-origin"] == "*"
        assert {"X-Safelight-Receipt", "X-RateLimit-Reset"} <= {
            *reply.headers["access-control-expose-headers"].split(", ")
        }
        assert "access-control-allow-credentials" not in reply.headers


@pytest.mark.parametrize("path", CLOSED)
def test_pages_for_people_are_for_their_own_origin(site: Site, path: str) -> None:
    assert not allowed(dict(site.http.options(path, headers=ASKS).headers))
    assert not allowed(dict(site.http.get(path, headers={"Origin": ORIGIN}).headers))


def test_options_without_a_preflight_says_what_there_is(site: Site) -> None:
    reply = site.http.options("/api/v5/clear_cache")
    assert (reply.status_code, reply.content, reply.headers["allow"]) == (204, b"", "GET, POST")
    assert site.http.options("/api/v3/nothing").status_code == 404


def test_a_setting_narrows_the_origins(site: Site) -> None:
    ours = frozenset({ORIGIN})
    for origins, told in ((ours, ORIGIN), (frozenset({"https://other.example"}), None), (frozenset[str](), None)):
        settings = site.settings.model_copy(update={"cors_origins": origins})
        client = TestClient(server.create(replace(site.services, settings=settings)))
        for reply in (client.options(OPEN[0], headers=ASKS), client.post(OPEN[0], json={}, headers={"Origin": ORIGIN})):
            assert reply.headers.get("access-control-allow-origin") == told
            assert "Origin" in reply.headers["vary"]


# The JavaScript of the vendor's pages for delete_image, clear_cache and img2img, which differ in path and body alone.

BLOCK = """
var myHeaders = new Headers();
myHeaders.append("Content-Type", "application/json");
var raw = JSON.stringify(BODY);
var requestOptions = {
  method: 'POST',
  headers: myHeaders,
  body: raw,
  redirect: 'follow'
};
fetch("ADDRESS", requestOptions)
  .then(response => response.text())
  .then(result => console.log(result))
  .catch(error => console.log('error', error));
"""
PAGE = """<!doctype html><script>
console.log = (...said) => fetch("/said", {method: "POST", body: said.join(" ")}).then(() => location.reload());
SCRIPT
</script>"""
LOOK = """
const picture = new Image();
picture.crossOrigin = "anonymous";
picture.onload = () => {
  const canvas = document.createElement("canvas");
  canvas.getContext("2d").drawImage(picture, 0, 0);
  console.log(picture.width, canvas.toDataURL().slice(0, 15));
};
picture.onerror = () => console.log("no picture");
picture.src = "ADDRESS";
"""
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
IMG2IMG: Json = {
    "prompt": "a cat sitting on a bench",
    "negative_prompt": None,
    "init_image": PHOTO,
    "width": "512",
    "height": "512",
    "samples": "1",
    "num_inference_steps": "30",
    "safety_checker": "no",
    "enhance_prompt": "yes",
    "guidance_scale": 7.5,
    "strength": 0.7,
    "base64": "no",
    "seed": None,
    "webhook": None,
    "track_id": None,
}


@contextmanager
def browser(profile: Path) -> Iterator[Callable[[str], str]]:
    """Runs a script in a page of another origin and gives the first thing that it logs; then the page waits for the next."""
    scripts: queue.Queue[str] = queue.Queue()
    said: queue.Queue[str] = queue.Queue()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(PAGE.replace("SCRIPT", scripts.get()).encode() if self.path == "/" else b"")

        def do_POST(self) -> None:
            said.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._reply(b"")

        def _reply(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Not into the report."""

    def run(script: str) -> str:
        scripts.put(script)
        return said.get(timeout=60)

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        with started("chromium", *OPTIONS, f"--user-data-dir={profile}", f"http://localhost:{web.server_port}/"):
            yield run
        scripts.put("")  # for the page that waits
        web.shutdown()


@contextmanager
def started(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs a chromium in the path")
def test_the_vendors_javascript_from_a_picture_to_its_deletion(site: Site, key: str, tmp_path: Path) -> None:
    def block(path: str, **body: object) -> Json:
        sent = json.dumps({"key": key, **body})
        address = f"{site.settings.base_url}/api/{path}"
        found: Json = json.loads(run(BLOCK.replace("BODY", sent).replace("ADDRESS", address)))
        return found

    with browser(tmp_path) as run:
        made = block("v3/img2img", **IMG2IMG)
        assert (made["status"], made["meta"]["W"], made["meta"]["steps"]) == ("success", 512, 21)
        look = LOOK.replace("ADDRESS", made["output"][0])
        assert run(look) == "512 data:image/png;"
        assert block("v5/clear_cache") == {"status": "success", "message": "Cache cleared"}
        assert block("v3/delete_image", request_id=made["id"]) == {"status": "success", "messege": "image deleted"}
        assert run(look) == "no picture"
