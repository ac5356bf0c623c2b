"""Bits from before: latents of small checkpoints and of the bundled one, recorded once.

On a processor and versions of torch and diffusers that were recorded, every bit must be the same; elsewhere rounding may
differ, so there a sample of the numbers must be as near as rounding allows. ``RECORD=1`` writes into the file, which a new
edition of the bundled model asks for: on the code from before the change that is in question.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from safelight.checkpoints import BUNDLED
from safelight.engine.generation import Generation, Spacing
from safelight.engine.model import Model

from .oracle import by_engine, half_mask, picture

RECORDED = Path(__file__).with_name("digests.json")
START = {"init_image": picture(), "strength": 0.7}
MASKED = {**START, "mask_image": half_mask()}
COMPANIES: dict[str, list[dict[str, Any]]] = {
    "sd1": [
        {},
        {"sampler": "EulerAncestralDiscrete", "guidance_scale": 1.0},
        {**START, "sampler": "DPMSolverMultistep", "spacing": Spacing.karras, "clip_skip": 2},
        {**MASKED, "sampler": "DDIM"},
    ],
    "sd1_inpaint": [MASKED, {**MASKED, "strength": 1.0, "sampler": "HeunDiscrete"}],
    "sd2": [{}, {**START, "sampler": "LMSDiscrete"}, {**MASKED, "sampler": "UniPCMultistep"}],
    "sdxl": [{}, {**START, "sampler": "LCM"}, {**MASKED, "sampler": "EulerAncestralDiscrete", "clip_skip": 2}],
}


@pytest.mark.parametrize("checkpoint", [*COMPANIES, "bundled"])
def test_the_bits_are_those_of_before(checkpoint: str, request: pytest.FixtureRequest) -> None:
    folder: Path = BUNDLED if checkpoint == "bundled" else request.getfixturevalue(checkpoint)
    company = COMPANIES.get(checkpoint, [{}, {**MASKED, "sampler": "EulerAncestralDiscrete"}])
    asked = [Generation("a red cat", "a dog", 64, 64, steps=5, seed=4 + i, **what) for i, what in enumerate(company)]
    for i, latents in enumerate(by_engine(Model.load(folder), asked)):
        compare(f"{checkpoint} {i}", latents)


def compare(name: str, latents: Tensor) -> None:
    known: dict[str, Any] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    sample = latents.flatten()[:: max(1, latents.numel() // 16)].tolist()
    digest = hashlib.sha256(latents.contiguous().numpy().tobytes()).hexdigest()
    if os.environ.get("RECORD"):
        rounded = [round(value, 4) for value in sample]
        if known.get(name, {}).get("sample") != rounded:
            known[name] = {"sample": rounded, "bits": {}}
        known[name]["bits"][here()] = digest
        RECORDED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    assert sample == pytest.approx(known[name]["sample"], abs=2e-3)
    assert digest == known[name]["bits"].get(here(), digest)


def here() -> str:
    """What decides the last bits: libraries choose their kernels by the processor's maker and instructions."""
    marks = {"vendor_id", "cpu family", "model"}
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else [platform.processor()]
    fields = dict(line.partition(":")[::2] for line in lines)
    chip = " ".join(value.strip() for key, value in fields.items() if key.strip() in marks)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{chip} | {capability} | torch {torch.__version__} | diffusers {diffusers.__version__}"
