"""What stands in front in a picture: by an operator's ONNX network, or by GrabCut from the picture's border.

Networks of three layouts are known (U2-Net, IS-Net, BiRefNet): how their pictures are scaled and what their answers mean.
Knows nothing of requests.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from safelight.engine.generation import Pixels
from safelight.errors import EngineFailed

Share = NDArray[np.float32]  # (height, width), 0 behind .. 1 in front

KEPT = 2  # networks in memory
GRABBED_SIDE = 256  # pixels: GrabCut looks at a picture no larger than that
ROUNDS = 5
GRAIN = 1.5  # levels of 255, added: large areas of exactly one colour would keep GrabCut busy for minutes
HOLE = 0.03  # of a picture: smaller holes in what is in front are its own highlights
EVEN = 4.0  # levels of 255: a border that strays no further from a gradient is a plain background
BORDER = 0.02  # of a side: what is taken for background
MEAN = (0.485, 0.456, 0.406)


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture's values, 0 to 1, are made (value - MEAN) / spread."""

    spread: tuple[float, float, float]
    brightest: bool = False  # values are counted from the picture's brightest


LAYOUTS = {
    "u2net": Layout((0.229, 0.224, 0.225), brightest=True),
    "isnet": Layout((1.0, 1.0, 1.0), brightest=True),
    "birefnet": Layout((0.229, 0.224, 0.225)),
}
U2NET_SIDE = 512  # pixels: the others take larger pictures


class Segmenter:
    """One network. onnxruntime runs it on the CPU, one picture at a time."""

    def __init__(self, path: Path) -> None:
        import onnxruntime  # slow to import

        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0]
            self._layout = LAYOUTS[_layout(path.stem, self._side)]
        except Exception as error:  # onnxruntime's own errors have no common class
            raise EngineFailed(f"{path.name} is no segmentation network that onnxruntime reads") from error

    def __call__(self, pixels: Pixels) -> Share:
        side = self._side
        scaled = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
        scaled /= max(float(scaled.max()), 1.0) if self._layout.brightest else 255.0
        told = (scaled - np.array(MEAN, np.float32)) / np.array(self._layout.spread, np.float32)
        answer = self._session.run(None, {self._input.name: told.transpose(2, 0, 1)[None]})[0]
        share = _stretched(np.asarray(answer, np.float32).reshape(answer.shape[-2:]))
        larger: Any = cv2.resize(share, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return larger.clip(0, 1)  # type: ignore[no-any-return]

    @property
    def _side(self) -> int:
        side = self._input.shape[-1]
        return side if isinstance(side, int) else 1024  # BiRefNet's may be of any size


read_segmenter = lru_cache(KEPT)(Segmenter)


def _layout(name: str, side: int) -> str:
    """By the file's name where that tells, else by the size that it takes."""
    plain = name.lower().replace("-", "").replace("_", "")
    return next((known for known in LAYOUTS if known in plain), "u2net" if side <= U2NET_SIDE else "birefnet")


def _stretched(answer: Share) -> Share:
    """Probabilities as they are, other numbers by the logistic function; then from the least to the most of them."""
    share = answer if answer.min() >= 0 and answer.max() <= 1 else 1 / (1 + np.exp(-answer.clip(-50, 50)))
    low, high = float(share.min()), float(share.max())
    return (share - low) / (high - low) if high - low > 1e-6 else share


_grabbing = threading.Lock()


def from_border(pixels: Pixels) -> Share:
    """What is unlike the picture's border. The same for the same picture, always."""
    height, width = pixels.shape[:2]
    scale = min(1.0, GRABBED_SIDE / max(height, width))
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    small: Any = cv2.resize(pixels, sides, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    marks = _guessed(small)
    if not (marks == cv2.GC_PR_FGD).any():
        return np.zeros((height, width), np.float32)
    grain = np.random.default_rng(0).normal(0, GRAIN, small.shape)
    shown = (small + grain).clip(0, 255).astype(np.uint8)
    with _grabbing:
        cv2.setRNGSeed(0)
        cv2.grabCut(shown, marks, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    front = _filled(np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)).astype(np.float32)
    larger: Any = cv2.resize(front, (width, height), interpolation=cv2.INTER_LINEAR)
    return larger  # type: ignore[no-any-return]


def _guessed(pixels: Pixels) -> Pixels:
    """The border is behind; what it surrounds is probably in front, but for what goes on in the border's own even colour."""
    height, width = pixels.shape[:2]
    edge = max(1, round(BORDER * min(height, width)))
    marks = np.full((height, width), cv2.GC_PR_FGD, np.uint8)
    inner = np.zeros((height, width), bool)
    inner[edge:-edge, edge:-edge] = True
    marks[~inner] = cv2.GC_BGD
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    places = np.dstack((np.ones_like(x), x, y))
    slope = np.linalg.lstsq(places[~inner], pixels[~inner].astype(np.float64), rcond=None)[0]
    away = np.abs(pixels - places @ slope).max(-1)
    if np.quantile(away[~inner], 0.9) <= EVEN:
        marks[away <= 2 * EVEN] = cv2.GC_BGD
    return marks


def _filled(front: Pixels) -> Pixels:
    _, parts, found, _ = cv2.connectedComponentsWithStats(1 - front, connectivity=4)
    outside = np.unique(np.concatenate((parts[0], parts[-1], parts[:, 0], parts[:, -1])))
    small = np.flatnonzero(found[:, cv2.CC_STAT_AREA] < HOLE * front.size)
    holes = np.isin(parts, np.setdiff1d(small, outside)) & (front == 0)
    return np.where(holes, 1, front).astype(np.uint8)
