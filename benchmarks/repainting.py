"""Outpainting and removing an object, through a real server: before, mask and after as a sheet, and which known pixels stayed as they were.

python -m benchmarks.repainting [--sheet docs/pictures/repainting.webp]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image, ImageDraw

from benchmarks.load import Server, served
from safelight.records import Bitmap
from safelight.service.widen import widen

SAMPLES = Path(__file__).resolve().parent.parent / "src/safelight/samples"
WIDE, HIGH, OVERLAP = 768, 512, 10
SHOWN, GAP = 256, 8  # pixels: how high a row of the sheet is, and what is between
SUN = (368, 30, 482, 144)  # left, top, right, bottom
SPOON_BOWL, SPOON_HANDLE = (275, 295, 402, 425), ((400, 85), (345, 350))
COMMON = {"seed": 7, "safety_checker": "no", "enhance_prompt": "no"}


@dataclass(frozen=True)
class Case:
    """What is sent, what is to be painted anew (white), and in which size it begins."""

    name: str
    page: str
    fields: dict[str, Any]
    before: Image.Image
    mask: Image.Image


def cases() -> Iterator[Case]:
    for name, prompt in (("drawing.png", "a house in a meadow"), ("photo.jpg", "a wooden table")):
        picture = Image.open(SAMPLES / name).convert("RGB")
        canvas, around = asyncio.run(widen(_bitmap(picture), WIDE, HIGH, OVERLAP))
        size = {"width": WIDE, "height": HIGH, "overlap_width": OVERLAP, "prompt": prompt}
        yield Case(
            f"outpaint {name}", "outpaint", {"image": _uri(picture), **size}, _opened(canvas.png), _opened(around.png)
        )
    for name, draw in (("drawing.png", sun), ("photo.jpg", spoon)):
        picture = Image.open(SAMPLES / name).convert("RGB")
        mask = Image.new("L", picture.size)
        draw(ImageDraw.Draw(mask))
        fields = {"init_image": _uri(picture), "mask_image": _uri(mask)}
        yield Case(f"object_removal {name}", "object_removal", fields, picture, mask)


def sun(mask: ImageDraw.ImageDraw) -> None:
    mask.ellipse(SUN, 255)


def spoon(mask: ImageDraw.ImageDraw) -> None:
    mask.ellipse(SPOON_BOWL, 255)
    mask.line(SPOON_HANDLE, 255, width=60)


def painted(server: Server, case: Case) -> Image.Image:
    with httpx.Client(base_url=server.url, timeout=120) as client:
        asked = {"key": server.key, **COMMON, **case.fields}
        told = client.post(f"/api/v6/image_editing/{case.page}", json=asked).json()
        number = told.get("id")
        while told["status"] == "processing":
            time.sleep(0.5)
            told = client.post(f"/api/v6/image_editing/fetch/{number}", json={"key": server.key}).json()
        assert told["status"] == "success", told
        return _opened(client.get(told["output"][0]).content)


def kept(case: Case, after: Image.Image) -> float:
    """The share of the pixels outside of the mask that are the very same."""
    outside = np.asarray(case.mask.convert("L")) == 0
    same = (np.asarray(case.before.convert("RGB")) == np.asarray(after.convert("RGB"))).all(axis=2)
    return float(same[outside].mean())


def row(pictures: tuple[Image.Image, ...]) -> Image.Image:
    shown = [each.convert("RGB").resize((each.width * SHOWN // each.height, SHOWN)) for each in pictures]
    line = Image.new("RGB", (3 * (WIDE * SHOWN // HIGH + GAP) - GAP, SHOWN), "grey")
    for number, each in enumerate(shown):
        line.paste(each, (number * (WIDE * SHOWN // HIGH + GAP), 0))
    return line


def _bitmap(picture: Image.Image) -> Bitmap:
    return Bitmap(_png(picture), picture.width, picture.height, "")


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _uri(picture: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(_png(picture)).decode()


def _opened(png: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(png))
    picture.load()
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheet", type=Path)
    given, rows = parser.parse_args(), []
    Path("run").mkdir(exist_ok=True)
    with served(Path("run/repainting.log")) as server:
        for case in cases():
            began = time.perf_counter()
            after = painted(server, case)
            seconds = time.perf_counter() - began
            rows.append(row((case.before, case.mask, after)))
            print(f"{case.name}: {kept(case, after):.2%} of the pixels outside of the mask byte-equal, {seconds:.1f} s")
    if given.sheet:
        sheet = Image.new("RGB", (rows[0].width, len(rows) * (SHOWN + GAP) - GAP), "grey")
        for number, each in enumerate(rows):
            sheet.paste(each, (0, number * (SHOWN + GAP)))
        sheet.save(given.sheet, quality=85)


if __name__ == "__main__":
    main()
