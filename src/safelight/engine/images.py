"""Pixels to tensors and back, resizing, and files. Knows nothing of models or requests.

Pictures are uint8 arrays (height, width, 3) in RGB and masks (height, width); tensors are (1, channels, height, width).
"""

from __future__ import annotations

import hashlib
import io
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from safelight.engine.generation import Pixels

Format = Literal["png", "jpeg", "webp"]


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def to_tensor(pixels: Pixels, width: int, height: int) -> Tensor:
    """A picture as the VAE sees it: (1, 3, height, width) in [-1, 1]."""
    values = torch.from_numpy(resize(pixels, width, height).astype(np.float32) / 255.0)
    return 2.0 * values.permute(2, 0, 1)[None] - 1.0


def mask_to_tensor(mask: Pixels, width: int, height: int) -> Tensor:
    """(1, 1, height, width): 1 is repainted, 0 is kept, and nothing lies between."""
    values = resize(mask, width, height).astype(np.float32) / 255.0
    return torch.from_numpy((values >= 0.5).astype(np.float32))[None, None]


def to_pixels(values: Tensor) -> Pixels:
    """(3, height, width) in [-1, 1] to a picture."""
    unit: NDArray[np.float32] = (values / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().float().numpy()
    return (unit * 255).round().astype(np.uint8)


def keep_unmasked(picture: Pixels, original: Pixels, mask: Pixels) -> Pixels:
    """Where the mask is black the original stays, pixel for pixel; the seam is softened on the repainted side."""
    height, width = picture.shape[:2]
    sharp = resize(mask, width, height) >= 128
    feather = max(1, min(width, height) // 128)
    soft = Image.fromarray(np.where(sharp, 255, 0).astype(np.uint8)).filter(ImageFilter.BoxBlur(feather))
    share = np.where(sharp, np.asarray(soft, np.float32) / 255.0, 0.0)[..., None]
    blended: NDArray[np.float32] = picture * share + resize(original, width, height) * (1 - share)
    return blended.round().astype(np.uint8)


def digest(pixels: Pixels) -> str:
    """Equal for equal pictures and, for all practical purposes, for no others."""
    content = hashlib.sha256(repr((pixels.dtype.str, pixels.shape)).encode())
    content.update(np.ascontiguousarray(pixels).data)
    return content.hexdigest()


def encode(pixels: Pixels, kind: Format = "png", quality: int = 90) -> bytes:
    """A file's bytes, without metadata of any kind."""
    file = io.BytesIO()
    options: dict[Format, dict[str, int]] = {
        "png": {"compress_level": 3},
        "jpeg": {"quality": quality},
        "webp": {"quality": quality, "method": 4},
    }
    Image.fromarray(pixels).save(file, kind, **options[kind])
    return file.getvalue()


def sketch(pixels: Pixels, most: int) -> bytes:
    """A WebP of at most so many bytes: as it is where it fits, else smaller and smaller."""
    while len(file := encode(pixels, "webp", 75)) > most:
        pixels = np.asarray(Image.fromarray(pixels).reduce(2))
    return file
