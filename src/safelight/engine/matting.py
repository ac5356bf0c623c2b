"""From what stands in front to how much of each pixel does, and to the picture with the rest taken away.

Soft edges are found by a guided filter (He et al. 2010), the front's own colours by blurred neighbours (Forte 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from safelight.engine.generation import Pixels
from safelight.engine.segmenters import Share

RADIUS = 8  # pixels: how far a soft edge reaches
SMOOTH = 1e-4  # differences in colour below its root are none
WIDE, NARROW = 90, 6  # pixels: how far colours of the front are looked for, first and then
SOLID = 0.5
MATTED_SIDE = 1024  # pixels: larger pictures are fitted at that size


@dataclass(frozen=True, slots=True)
class Cut:
    """rembg's parameters. Thresholds are of 255; ``erode`` is in pixels."""

    only_mask: bool = False
    inverse: bool = False
    tidy: bool = False  # small spots taken away, edges smoothed
    matting: bool = False
    foreground: int = 240
    background: int = 20
    erode: int = 5


def cut_out(pixels: Pixels, front: Share, cut: Cut) -> Pixels:
    """(height, width, 4) with what is behind transparent, or the mask alone."""
    alpha = _matte(pixels, front, cut) if cut.matting else front
    if cut.tidy:
        alpha = _tidied(alpha)
    if cut.inverse:
        alpha = 1 - alpha
    mask = (alpha * 255).round().astype(np.uint8)
    if cut.only_mask:
        return mask
    colours = _colours(pixels, alpha) if cut.matting else pixels
    return np.dstack((colours, mask))


def _matte(pixels: Pixels, front: Share, cut: Cut) -> Share:
    """What is surely in front or behind stays so; between them colours decide."""
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * cut.erode + 1,) * 2)
    surely = cv2.erode((front * 255 > cut.foreground).astype(np.uint8), shape) > 0
    behind = cv2.erode((front * 255 < cut.background).astype(np.uint8), shape) > 0
    soft = _guided((pixels / 255).astype(np.float32), front)
    return np.where(surely, 1, np.where(behind, 0, soft)).astype(np.float32)


def _guided(guide: Share, wanted: Share) -> Share:
    """In each neighbourhood the share is the linear function of the colours that fits it best."""
    scale = min(1.0, MATTED_SIDE / max(wanted.shape))
    slope, level = _fitted(_scaled(guide, scale), _scaled(wanted, scale))
    size = wanted.shape[1::-1]
    larger = [np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_LINEAR)) for each in (slope, level)]
    return ((larger[0] * guide).sum(-1) + larger[1]).clip(0, 1).astype(np.float32)  # type: ignore[no-any-return]


def _fitted(guide: Share, wanted: Share) -> tuple[Share, Share]:
    mean_guide, mean_wanted = _mean(guide), _mean(wanted)
    products = _mean(np.einsum("hwi,hwj->hwij", guide, guide).reshape(*wanted.shape, 9)).reshape(*wanted.shape, 3, 3)
    spread = products - np.einsum("hwi,hwj->hwij", mean_guide, mean_guide) + SMOOTH * np.eye(3, dtype=np.float32)
    together = _mean(guide * wanted[..., None]) - mean_guide * mean_wanted[..., None]
    slope = np.linalg.solve(spread, together[..., None])[..., 0].astype(np.float32)
    level = mean_wanted - (slope * mean_guide).sum(-1)
    return _mean(slope), _mean(level)


def _scaled(values: Share, scale: float) -> Share:
    return (
        values if scale == 1 else np.asarray(cv2.resize(values, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    )


def _mean(values: Share, radius: int = RADIUS) -> Share:
    """Over a square. OpenCV takes four channels at a time."""
    if values.ndim == 3 and values.shape[2] > 4:
        return np.dstack([_mean(values[..., index], radius) for index in range(values.shape[2])])
    mean: Any = cv2.boxFilter(values, -1, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)
    return mean  # type: ignore[no-any-return]


def _colours(pixels: Pixels, alpha: Share) -> Pixels:
    """Of the front alone, where it is seen through a soft edge."""
    picture, share = pixels.astype(np.float32), alpha[..., None]
    front = behind = picture
    for radius in (WIDE, NARROW):
        front_near = _mean(front * share, radius) / (_mean(alpha, radius)[..., None] + 1e-5)
        behind_near = _mean(behind * (1 - share), radius) / (_mean(1 - alpha, radius)[..., None] + 1e-5)
        behind = behind_near
        front = front_near + share * (picture - share * front_near - (1 - share) * behind_near)
        front = front.clip(0, 255)
    return np.where(share >= 1, pixels, front.round()).astype(np.uint8)


def _tidied(alpha: Share) -> Share:
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(alpha, cv2.MORPH_OPEN, shape)
    smooth: Any = cv2.GaussianBlur(opened, (5, 5), 2)
    return (smooth >= SOLID).astype(np.float32)  # type: ignore[no-any-return]
