"""The main job, whole: serve, POST /api/v3/img2img with a photo and a prompt, fetch the picture, put both side by side."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "src/safelight/samples/photo.jpg"
OUT = ROOT / "demo"
PROMPT = "a red apple, white background"
SAFELIGHT = (sys.executable, "-m", "safelight")


def main() -> None:
    OUT.mkdir(exist_ok=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="safelight-demo-", dir=OUT, ignore_cleanup_errors=True) as data:
        environment = {**os.environ, "SAFELIGHT_DATA_DIR": data}
        with served(environment) as (address, key):
            ready = time.perf_counter()
            reply, picture = img2img(address, key)
            done = time.perf_counter()
    result, both = OUT / "output.png", OUT / "input-and-output.png"
    result.write_bytes(picture)
    side_by_side(PHOTO, picture).save(both)
    print(f"""
  prompt                {reply["meta"]["prompt"]}
  server ready after    {ready - began:.1f} s  (database made, model loaded)
  picture after         {done - ready:.1f} s  (whole exchange; on the engine: {reply["generationTime"]:.1f} s)

  the picture           {result}
  input and output      {both}
""")


@contextmanager
def served(environment: dict[str, str]) -> Iterator[tuple[str, str]]:
    """A running ``safelight serve`` on a free port; yields its address and a key."""
    made = subprocess.run(
        [*SAFELIGHT, "keys", "create", "demo", "--json"], env=environment, check=True, stdout=subprocess.PIPE
    )
    log = (OUT / "server.log").open("w")
    server = subprocess.Popen(
        [*SAFELIGHT, "serve", "--port", "0", "--json"], env=environment, stdout=subprocess.PIPE, stderr=log
    )
    try:
        assert server.stdout is not None
        print("Starting the server (its log: demo/server.log) ...", flush=True)
        first = server.stdout.readline()
        if not first:
            sys.exit(f"The server did not start:\n{Path(log.name).read_text()[-2000:]}")
        address = json.loads(first)["url"]
        wait_until_ready(address)
        yield address, json.loads(made.stdout)["key"]
    finally:
        server.terminate()
        server.wait(90)
        log.close()


def wait_until_ready(address: str, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if httpx.get(f"{address}/readyz").status_code == 200:
            return
        time.sleep(0.2)
    sys.exit("The server did not become ready; see demo/server.log.")


def img2img(address: str, key: str) -> tuple[dict, bytes]:
    print(f"POST {address}/api/v3/img2img ...", flush=True)
    photo = "data:image/jpeg;base64," + base64.b64encode(PHOTO.read_bytes()).decode()
    body = {"key": key, "prompt": PROMPT, "init_image": photo, "width": "512", "height": "512", "samples": "1",
            "num_inference_steps": "30", "guidance_scale": 5, "strength": 0.7, "seed": 7, "enhance_prompt": "no"}  # fmt: skip
    reply = httpx.post(f"{address}/api/v3/img2img", json=body, timeout=120).json()
    while reply["status"] == "processing":
        time.sleep(1)
        reply |= httpx.post(f"{address}/api/v3/fetch/{reply['id']}", json={"key": key}, timeout=60).json()
    if reply["status"] != "success":
        sys.exit(f"The server answered: {reply}")
    return reply, httpx.get(reply["output"][0]).raise_for_status().content


def side_by_side(photo: Path, picture: bytes) -> Image.Image:
    left, right = Image.open(photo).convert("RGB"), Image.open(io.BytesIO(picture))
    canvas = Image.new("RGB", (right.width * 2 + 16, right.height), "white")
    canvas.paste(left.resize(right.size, Image.Resampling.LANCZOS), (0, 0))
    canvas.paste(right, (right.width + 16, 0))
    return canvas


main()
