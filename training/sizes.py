"""The sizes that can be trained: `tiny` for the test suite, `cpu` for a laptop's afternoon, `base` for half an hour of
a GPU."""

from __future__ import annotations

from dataclasses import dataclass

from training import nouns


@dataclass(frozen=True)
class Size:
    pixels: int  # native side of the pictures

    autoencoder: tuple[int, ...]  # channels of its levels; four levels make f8
    groups: int  # of its group normalisations; few, so that absolute colour survives
    autoencoder_rate: float
    autoencoder_batch: int  # crops of half the side; whole pictures are a quarter as many
    pool: int  # composites kept for it

    text: int  # width of the text encoder
    text_layers: int
    text_batch: int
    captions: int  # tokenised for it

    nouns: tuple[str, ...]  # that the image model learns
    unet: tuple[int, ...]  # channels of its levels
    unet_rate: float
    unet_batch: int
    average: float  # decay of the averaged weights


TINY = Size(
    pixels=64,
    autoencoder=(16, 16, 16, 16),
    groups=4,
    autoencoder_rate=2e-3,
    autoencoder_batch=8,
    pool=64,
    text=32,
    text_layers=1,
    text_batch=16,
    captions=256,
    nouns=nouns.FEW,
    unet=(16, 32),
    unet_rate=1e-3,
    unet_batch=8,
    average=0.95,
)
CPU = Size(
    pixels=128,
    autoencoder=(16, 48, 96, 96),
    groups=4,
    autoencoder_rate=1e-3,
    autoencoder_batch=16,
    pool=4096,
    text=128,
    text_layers=3,
    text_batch=128,
    captions=40000,
    nouns=nouns.FEW,
    unet=(64, 128, 160),
    unet_rate=1e-3,
    unet_batch=32,
    average=0.998,
)
BASE = Size(
    pixels=128,
    autoencoder=(32, 64, 128, 128),
    groups=8,
    autoencoder_rate=1e-3,
    autoencoder_batch=128,
    pool=16384,
    text=256,
    text_layers=4,
    text_batch=512,
    captions=200000,
    nouns=tuple(nouns.NOUNS),
    unet=(128, 192, 256),
    unet_rate=4e-4,
    unet_batch=512,
    average=0.9995,
)
SIZES = {"tiny": TINY, "cpu": CPU, "base": BASE}
