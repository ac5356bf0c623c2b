"""Build the packed set of sprites: either from the npm packages that hold the drawings, or cut from a wider packed
set.

npm install @iconify-json/fluent-emoji@1.2.7 @iconify-json/fluent-emoji-flat@1.2.6 @lobehub/fluent-emoji-3d
emojibase-data python -m training.build_dataset --packages node_modules --out training/data python -m
training.build_dataset --wider FOLDER --out training/data

The packages need `pip install resvg-py` to draw SVG. Written are `pack.bin` (WebP after WebP), `meta.json` (where
each one lies, its source and its name) and `LICENCES.json`.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training import nouns

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SIDE, MARGIN, QUALITY = 128, 0.04, 80
PACKAGES = {
    "fluent-emoji": "@iconify-json/fluent-emoji",
    "fluent-emoji-flat": "@iconify-json/fluent-emoji-flat",
    "fluent-3d": "@lobehub/fluent-emoji-3d",
}
DRAWINGS = {drawing for drawing, _ in nouns.NOUNS.values()}


@dataclass(frozen=True)
class Drawing:
    source: str
    name: str
    webp: bytes


def from_wider(folder: Path) -> tuple[list[Drawing], dict[str, Any]]:
    """The drawings of `nouns.py` out of a packed set that holds more."""
    meta = json.loads((folder / "meta.json").read_text())
    blob = (folder / "pack.bin").read_bytes()
    found = {
        (item["s"], item["n"]): Drawing(item["s"], item["n"], blob[item["o"] : item["o"] + item["l"]])
        for item in meta["items"]
        if item["s"] in PACKAGES and item["n"] in DRAWINGS
    }
    licences = json.loads((folder / "LICENCES.json").read_text())
    return [found[key] for key in sorted(found)], {source: licences[source] for source in PACKAGES}


def from_packages(modules: Path, side: int) -> tuple[list[Drawing], dict[str, Any]]:
    """The drawings of `nouns.py` out of unpacked npm packages."""
    emoji = json.loads((modules / "emojibase-data/en/data.json").read_text())
    by_slug = {slug(e["label"]): e["label"].lower() for e in emoji}
    by_code = {e["hexcode"].lower().replace("-fe0f", ""): e["label"].lower() for e in emoji}
    found: dict[tuple[str, str], Drawing] = {}
    licences = {}
    for source, package in PACKAGES.items():
        pictures = (
            raster(modules / package, by_code)
            if source == "fluent-3d"
            else vector(modules / package, by_slug, max(256, side))
        )
        for name, picture in pictures:
            if name in DRAWINGS:
                found[source, name] = Drawing(source, name, encode(fit(picture, side)))
        licences[source] = licence(source, package, modules)
    return [found[key] for key in sorted(found)], licences


def vector(package: Path, by_slug: dict[str, str], pixels: int) -> Iterator[tuple[str, Image.Image]]:
    """Iconify keeps a whole collection in one file: a body of SVG for each name."""
    import resvg_py  # only those who draw SVG need it

    icons = json.loads((package / "icons.json").read_text())
    for key, icon in icons["icons"].items():
        name = by_slug.get(key)
        if name not in DRAWINGS:
            continue
        width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
        body = icon["body"]
        svg = f'<svg {NAMESPACES} viewBox="0 0 {width} {height}">{body}</svg>'
        yield name, Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=pixels))))


def raster(package: Path, by_code: dict[str, str]) -> Iterator[tuple[str, Image.Image]]:
    for path in sorted(package.glob("assets/*.webp")):
        name = by_code.get(path.stem.lower().replace("-fe0f", ""))
        if name in DRAWINGS:
            yield name, Image.open(path)


def slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower().replace("’", "").replace("&", "and")).strip("-")


def fit(picture: Image.Image, side: int = SIDE) -> Image.Image:
    """Cut to what is drawn and centred on a transparent square, resized with premultiplied colour for clean edges."""
    picture = picture.convert("RGBA")
    picture = picture.crop(picture.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox())
    scale = side * (1 - 2 * MARGIN) / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    square = Image.new("RGBA", (side, side))
    square.paste(picture, ((side - size[0]) // 2, (side - size[1]) // 2))
    pixels = np.array(square)
    pixels[pixels[..., 3] == 0] = 0
    return Image.fromarray(pixels)


def encode(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=QUALITY, alpha_quality=70, method=4)
    return out.getvalue()


def licence(source: str, package: str, modules: Path) -> dict[str, Any]:
    version = json.loads((modules / package / "package.json").read_text())["version"]
    author = (
        "Microsoft Corporation (artwork), LobeHub (packaging)" if source == "fluent-3d" else "Microsoft Corporation"
    )
    return {
        "package": package,
        "version": version,
        "license": "MIT",
        "author": author,
        "url": "https://github.com/microsoft/fluentui-emoji",
    }


def write(drawings: list[Drawing], licences: dict[str, Any], out: Path, side: int = SIDE) -> None:
    out.mkdir(parents=True, exist_ok=True)
    items, offset = [], 0
    for drawing in drawings:
        items.append({"o": offset, "l": len(drawing.webp), "s": drawing.source, "n": drawing.name})
        offset += len(drawing.webp)
    (out / "pack.bin").write_bytes(b"".join(d.webp for d in drawings))
    (out / "meta.json").write_text(json.dumps({"size": side, "items": items}, separators=(",", ":")) + "\n")
    for source, about in licences.items():
        mine = [d for d in drawings if d.source == source]
        about |= {"images": len(mine), "packed_bytes": sum(len(d.webp) for d in mine)}
    (out / "LICENCES.json").write_text(json.dumps(licences, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--packages", type=Path, help="a node_modules folder")
    given.add_argument("--wider", type=Path, help="a packed set that holds these drawings and others")
    parser.add_argument("--side", type=int, default=SIDE, help="of each drawing, from packages; 512 for the enlarger")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    drawings, licences = from_wider(options.wider) if options.wider else from_packages(options.packages, options.side)
    write(drawings, licences, options.out, options.side)
    print(
        f"{len(drawings)} drawings of {len({d.name for d in drawings})} things,",
        f"{sum(len(d.webp) for d in drawings) / 1e6:.2f} MB",
    )


if __name__ == "__main__":
    main()
