"""What a ControlNet is shown, made of a picture: edges, strokes, tones, or the picture as it is, without any network;
depth, segmentation and pose by the operator's.

Each is drawn at the size of the picture to be, so that a line is as thin there as the network learned it. Knows nothing
of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safelight.engine import images
from safelight.engine.generation import Pixels
from safelight.errors import Invalid

CANNY_LOW, CANNY_HIGH = 100, 200  # as the published canny ControlNets were trained
STROKE = 32  # of 255: what is that much darker than what lies around it is drawn
PLAIN, INPAINT = "plain", "inpaint"
DEPTH, SEGMENTATION, POSE = "depth", "segmentation", "pose"
NETWORKS = {  # for each kind that they draw, the setting that names them
    DEPTH: "SAFELIGHT_DEPTH names one",
    SEGMENTATION: "SAFELIGHT_SEGMENTATION names one",
    POSE: "SAFELIGHT_POSE and SAFELIGHT_PEOPLE name one",
}
UNKNOWN = -1.0  # what the inpainting ControlNets are shown where a picture is to be painted anew


Draw = Callable[[Pixels], Pixels]


def to_hint(
    kind: str, picture: Pixels, mask: Pixels | None, width: int, height: int, networks: Mapping[str, Draw] | None = None
) -> Tensor:
    """(1, 3, height, width) in [0, 1]; ``mask`` is what an inpainting ControlNet is not shown, ``networks`` are the operator's."""
    draws = HINTS | dict(networks or {})
    if kind not in draws:
        raise Invalid("controlnet_type", f"{kind} is drawn by a model that this server does not have; {NETWORKS[kind]}")
    drawn = draws[kind](images.resize(picture, width, height))
    hint = torch.from_numpy(drawn.astype(np.float32) / 255.0).permute(2, 0, 1)[None]
    if kind != INPAINT or mask is None:
        return hint
    return torch.where(images.mask_to_tensor(mask, width, height) > 0, UNKNOWN, hint)


def _plain(picture: Pixels) -> Pixels:
    return picture


def _canny(picture: Pixels) -> Pixels:
    return _grey(cv2.Canny(picture, CANNY_LOW, CANNY_HIGH))


def _soft_edge(picture: Pixels) -> Pixels:
    """How steep the lightness is, after a little blur, from nothing to the steepest place."""
    light = cv2.GaussianBlur(_lightness(picture), (0, 0), 1.5).astype(np.float32)
    steep = np.hypot(cv2.Scharr(light, cv2.CV_32F, 1, 0), cv2.Scharr(light, cv2.CV_32F, 0, 1))
    return _grey(steep * (255.0 / max(float(steep.max()), 1.0)))


def _scribble(picture: Pixels) -> Pixels:
    """White strokes where a fine blur is darker than a coarse one (a difference of Gaussians)."""
    values = picture.astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(values, (0, 0), sigma) for sigma in (0.5, 5.0))
    darker = (coarse - fine).min(axis=2)
    return _grey(np.where(darker > STROKE / 2, 255.0, 0.0))


def _blur(picture: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 9.0), np.uint8)


def _tones(picture: Pixels) -> Pixels:
    return _grey(_lightness(picture))


def _lightness(picture: Pixels) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _grey(values: NDArray[np.generic]) -> Pixels:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


HINTS: dict[str, Draw] = {
    PLAIN: _plain,
    "canny": _canny,
    "softedge": _soft_edge,
    "scribble": _scribble,
    "tile": _plain,
    "blur": _blur,
    "gray": _tones,
    INPAINT: _plain,
}
