"""The probe: keeps the plain way unless another is clearly faster, and remembers its answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from safelight.engine import tuning
from safelight.engine.memory import Memory
from safelight.engine.remembered import Remembered
from safelight.engine.shelf import Shelf
from safelight.engine.tuning import ON_CUDA, Tuning, choose, time_call, tuned

PLAIN = Tuning(threads=4)


@pytest.fixture(autouse=True)
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "PROBE_SIDE", 8)


@pytest.mark.parametrize(
    ("faster", "wanted"),
    [
        ({}, PLAIN),
        ({"channels_last": 1.1}, PLAIN),
        ({"channels_last": 1.5}, Tuning("float32", True, 4)),
        ({"threads": 1.5}, Tuning("float32", False, 2)),
        ({"dtype": 1.9}, PLAIN),
        ({"dtype": 2.1, "channels_last": 1.3}, Tuning("bfloat16", True, 4)),
        ({"openvino": 1.1}, PLAIN),
        ({"openvino": 3.0, "channels_last": 1.5}, Tuning("float32", False, 4, openvino=True)),
        ({"openvino": 3.0, "threads": 1.5, "dtype": 2.1}, Tuning("bfloat16", False, 2, openvino=True)),
    ],
)
def test_only_a_clear_gain_changes_the_way(faster: dict[str, float], wanted: Tuning) -> None:
    def seconds(tuning: Tuning) -> float:
        changed = [name for name in faster if getattr(tuning, name) != getattr(PLAIN, name)]
        return 1.0 / torch.tensor([faster[name] for name in changed] or [1.0]).prod().item()

    assert choose(seconds, PLAIN, native_bf16=True, openvino=True) == wanted


def test_what_this_machine_lacks_is_not_tried() -> None:
    asked: list[Tuning] = []
    choose(lambda tuning: asked.append(tuning) or 1.0, PLAIN, native_bf16=False, openvino=False)  # type: ignore[func-returns-value]
    assert {(tuning.dtype, tuning.openvino) for tuning in asked} == {("float32", False)}


def test_a_way_that_does_not_run_here_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    def seconds(tuning: Tuning) -> float:
        if tuning.openvino:
            raise RuntimeError("no such instruction")
        return 0.5 if tuning.channels_last else 1.0

    assert choose(seconds, PLAIN, native_bf16=False, openvino=True) == Tuning("float32", True, 4)
    assert "does not run like that here" in caplog.text


def test_what_there_is_no_room_for_is_not_compiled(sd1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Tuning] = []

    def timed(_name: str, _path: Path, way: Tuning, **_: object) -> float:
        asked.append(way)
        return 1.0

    monkeypatch.setattr(tuning, "time_call", timed)
    monkeypatch.setattr(tuning, "memory_of", lambda _device: Memory(0, 1 << 20, 1 << 40))
    tuned("sd1", sd1, torch.device("cpu"), Remembered(), threads=1)
    assert asked
    assert not any(way.openvino for way in asked)


def test_the_default_checkpoint_chooses_the_threads_for_all(sd1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else bits would depend on which of them came first, since a thread's count is that of its first computation."""
    asked: list[tuple[str, int]] = []

    def timed(name: str, _path: Path, way: Tuning, **_: object) -> float:
        asked.append((name, way.threads))
        return float(way.threads)

    monkeypatch.setattr(tuning, "time_call", timed)
    torch.set_num_threads(4)
    shelf = Shelf(dict.fromkeys(("default", "other"), sd1), "default", dtype=None)
    shelf.wait("other")
    assert set(asked) == {("default", 4), ("default", 2), ("other", 2)}
    before = list(asked)
    shelf.add("guest", sd1)
    assert shelf.wait("guest").dtype == torch.float32
    assert asked == before


def test_timing_leaves_the_threads_as_they_were(sd1: Path) -> None:
    before = torch.get_num_threads()
    assert time_call("it", sd1, Tuning(threads=before + 1)) > 0
    assert torch.get_num_threads() == before


def test_a_shelf_without_a_type_asks_the_probe_and_its_answer_is_remembered(
    sd1: Path, tmp_path: Path, traced: Path
) -> None:
    path, cpu = tmp_path / "tuning.json", torch.device("cpu")
    shelf = Shelf({"sd1": sd1}, "sd1", dtype=None, tuning_path=path, compiled_path=traced)
    model = shelf.wait("sd1")
    again = tuned("sd1", tmp_path / "gone", cpu, Remembered(path), threads=1)
    assert model.dtype == again.options["dtype"]
    assert model.runtime.startswith("openvino" if again.openvino else "torch")
    assert tuned("sd1", sd1, torch.device("cuda"), Remembered(path), threads=1) == ON_CUDA
