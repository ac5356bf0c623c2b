"""The example of the engine's page, as it stands there, run as a stranger would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from . import checkpoints
from .oracle import picture

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs/examples/engine.py"


def test_the_page_shows_the_example() -> None:
    assert EXAMPLE.read_text() in (ROOT / "docs/reference/engine.md").read_text()
    code = EXAMPLE.read_text().split("\n\n", 3)[-1]
    assert len(code.strip().splitlines()) <= 15


def small_parts() -> dict[str, Any]:
    """Smaller still than those of other tests, since the example draws at full size."""
    levels = {"block_out_channels": (8, 16), "norm_num_groups": 4, "attention_head_dim": 2, "layers_per_block": 1}
    return {
        "unet": checkpoints.unet(0, **levels),
        "vae": checkpoints.vae(0, block_out_channels=(4, 4, 4, 4), norm_num_groups=2),
    }


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_example_runs(tmp_path: Path) -> None:
    folder = checkpoints.write_sd1(tmp_path / "checkpoint", native_size=64)
    for name, part in small_parts().items():
        part.save_pretrained(folder / name)
    Image.fromarray(picture()).save(tmp_path / "photo.png")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLE), str(folder), "photo.png", "a red cat"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=200)
    made = sorted(path.name for path in tmp_path.glob("strength-*.png"))
    assert made == [f"strength-{strength}.png" for strength in (0.2, 0.4, 0.6, 0.8)]
    with Image.open(tmp_path / made[0]) as drawn:
        assert drawn.size == (512, 512)
