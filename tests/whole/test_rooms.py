"""The walls of the house: the process that answers HTTP never loads torch, and the import contracts hold because they can break."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INTRUDERS = {
    "service/accounts.py": ("import safelight.wire.forms", "One direction"),
    "engine/images.py": ("import safelight.records", "The engine knows nothing of ours but errors"),
    "storage/blobs.py": ("import torch", "wire, service and storage never import torch"),
    "service/jobs.py": ("import fastapi", "service, engine and storage never import the web framework"),
    "records/assets.py": ("import safelight.records.jobs", "What is asked for stands on what is stored"),
    "wire/tensorslab/tasks.py": ("import safelight.wire.modelslab.read", "Dialects do not know each other"),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "src/safelight", tmp_path / "src/safelight", ignore=shutil.ignore_patterns("__pycache__", "model")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_http_process_never_imports_torch() -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'onnxruntime'}"
    script = f"import safelight.app, safelight.wire.server, safelight.cli, sys; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_contracts_hold_and_break(copy: Path) -> None:
    status, told = lint(copy)
    assert (status, told.count(" KEPT")) == (0, len(INTRUDERS))
    for path, (statement, _) in INTRUDERS.items():
        module = copy / "src/safelight" / path
        module.write_text(f"{module.read_text()}\n{statement}\n")
    status, told = lint(copy)
    assert status == 1
    broken = " ".join(told.split())
    assert [name for _, name in INTRUDERS.values() if name not in broken] == []
    assert told.count(" BROKEN") == len(INTRUDERS)


def test_every_migration_has_a_number_of_its_own() -> None:
    numbers = [path.stem[:4] for path in (ROOT / "src/safelight/storage/migrations/versions").glob("0*.py")]
    assert sorted(numbers) == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def lint(folder: Path) -> tuple[int, str]:
    program = Path(sys.executable).parent / "lint-imports"
    told = {**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "300"}
    done = subprocess.run([program, "--no-cache"], cwd=folder, env=told, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout
