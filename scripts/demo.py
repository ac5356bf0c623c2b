"""The main job, whole: serve, POST a photo and a drawing with a prompt each, ask for one picture in two sizes, show them in pairs."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "src/safelight/samples"
OUT = ROOT / "demo"
SIDE = 512
SAFELIGHT = (sys.executable, "-m", "safelight")
Reply = dict[str, Any]
Pair = tuple[str, Image.Image, Image.Image]  # what was asked, before, after


def main() -> None:
    OUT.mkdir(exist_ok=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="safelight-demo-", dir=OUT, ignore_cleanup_errors=True) as data:
        environment = {**os.environ, "SAFELIGHT_DATA_DIR": data}
        with served(environment) as (address, key):
            ready = time.perf_counter()
            shown = list(pairs(partial(painted, address, key)))
            done = time.perf_counter()
    result = OUT / "three-pairs.png"
    sheet(shown).save(result)
    print(f"""
  asked for             {"; ".join(words for words, _, _ in shown)}
  server ready after    {ready - began:.1f} s  (database made, model loaded)
  four pictures after   {done - ready:.1f} s  (one after another, whole exchanges)

  before and after      {result}
""")


def pairs(paint: Callable[..., Image.Image]) -> Iterator[Pair]:
    """A photo and a prompt, a drawing and a prompt, and a picture of the model's own size beside the same at 512."""
    for name, kind, prompt in (("photo.jpg", "jpeg", "a panda"), ("drawing.png", "png", "a rocket")):
        picture = (SAMPLES / name).read_bytes()
        given = f"data:image/{kind};base64," + base64.b64encode(picture).decode()
        yield prompt, Image.open(io.BytesIO(picture)), paint("img2img", prompt=prompt, init_image=given)
    small, large = (paint("text2img", prompt="a red apple", width=side, height=side) for side in (128, SIDE))
    yield "a red apple, at 128 and at 512", small.resize((SIDE, SIDE), Image.Resampling.NEAREST), large


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


def wait_until_ready(address: str, seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if httpx.get(f"{address}/readyz").status_code == 200:
            return
        time.sleep(0.2)
    sys.exit("The server did not become ready; see demo/server.log.")


def painted(address: str, key: str, what: str, **asked: object) -> Image.Image:
    """One picture by the API, everything that is not asked for left to the checkpoint."""
    print(f"POST {address}/api/v3/{what}: {asked['prompt']} ...", flush=True)
    body = {"key": key, "seed": 7, "enhance_prompt": "no", "width": SIDE, "height": SIDE, **asked}
    reply: Reply = httpx.post(f"{address}/api/v3/{what}", json=body, timeout=300).json()
    while reply["status"] == "processing":
        time.sleep(1)
        reply |= httpx.post(f"{address}/api/v3/fetch/{reply['id']}", json={"key": key}, timeout=60).json()
    if reply["status"] != "success":
        sys.exit(f"The server answered: {reply}")
    return Image.open(io.BytesIO(httpx.get(reply["output"][0]).raise_for_status().content))


def sheet(shown: Sequence[Pair], gap: int = 16) -> Image.Image:
    """A row for each pair: before, after."""
    page = Image.new("RGB", (2 * SIDE + gap, len(shown) * (SIDE + gap) - gap), "white")
    for row, (_, *pictures) in enumerate(shown):
        for column, picture in enumerate(pictures):
            page.paste(picture.convert("RGB").resize((SIDE, SIDE)), (column * (SIDE + gap), row * (SIDE + gap)))
    return page


main()
