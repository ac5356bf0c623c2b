"""The safety checker: scores in range, deterministic, ordinary pictures pass, and nothing is loaded too early."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from safelight.engine.safety import SafetyChecker


def test_ordinary_pictures_score_low_and_the_same_twice() -> None:
    sky = np.tile(np.linspace(90, 250, 64, dtype=np.uint8)[:, None, None], (1, 96, 3))
    leaves = np.random.default_rng(0).integers(0, 120, (64, 64, 3), dtype=np.uint8)
    checker = SafetyChecker()
    scores = checker.scores([sky, leaves])
    assert all(0 <= score < 0.5 for score in scores)
    assert checker.scores([sky]) + checker.scores([leaves]) == scores


def test_the_network_is_not_loaded_before_the_first_picture() -> None:
    code = "import sys, safelight.engine.safety as s; s.SafetyChecker(); sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
