"""The shelf: names, background loading, the budget, and that memory comes back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from safelight.engine.shelf import Shelf, State
from safelight.errors import EngineFailed, Invalid

from .oracle import denoise


def test_a_model_is_loaded_in_the_background_and_then_there(sd1: Path) -> None:
    shelf = Shelf({"a": sd1}, "a")
    assert shelf.get("a") is None
    model = shelf.wait("a")
    assert shelf.get("a") is model
    assert shelf.get(None) is model
    assert shelf.get("") is model


def test_an_unknown_name_is_the_callers_mistake(sd1: Path) -> None:
    with pytest.raises(Invalid, match="model_id is not a model on this server"):
        Shelf({"a": sd1}, "a").get("b")


def test_listing_tells_sizes_and_states(sd1: Path, tmp_path: Path) -> None:
    shelf = Shelf({"a": sd1, "b": sd1, "broken": tmp_path}, "a")
    model = shelf.wait("a")
    with pytest.raises(EngineFailed):
        shelf.wait("broken")
    listed = shelf.names()
    assert [(entry.name, entry.state, entry.default) for entry in listed] == [
        ("a", State.loaded, True),
        ("b", State.on_disk, False),
        ("broken", State.failed, False),
    ]
    assert listed[0].bytes == model.bytes
    assert abs(listed[1].bytes - model.bytes) < 1024
    assert [(entry.name, entry.bytes) for entry in shelf.held()] == [("a", model.bytes), ("broken", 0)]


def test_the_least_recently_used_model_goes_first(sd1: Path) -> None:
    size = Shelf({"a": sd1}, "a").wait("a").bytes
    shelf = Shelf(dict.fromkeys("abc", sd1), "a", budget_bytes=int(2.5 * size))
    for name in "abac":
        shelf.wait(name)
    assert {entry.name for entry in shelf.names() if entry.state == State.loaded} == {"a", "c"}


def test_a_model_larger_than_the_budget_is_refused_by_name(sd1: Path) -> None:
    with pytest.raises(EngineFailed, match="The model a needs 6 MiB; the memory budget is 1 MiB"):
        Shelf({"a": sd1}, "a", budget_bytes=1 << 20).wait("a")


def test_without_room_for_compiled_networks_torch_runs_it(sd1: Path, traced: Path) -> None:
    size = Shelf({"sd1": sd1}, "sd1").wait("sd1").bytes
    for budget, runtime in ((int(1.5 * size), "torch"), (2 * size, "openvino")):
        shelf = Shelf({"sd1": sd1}, "sd1", budget_bytes=budget, openvino=True, compiled_path=traced)
        assert shelf.wait("sd1").runtime.startswith(runtime)


def test_a_load_waits_for_work_that_still_holds_the_old_model(sd1: Path) -> None:
    size = Shelf({"a": sd1}, "a").wait("a").bytes
    shelf = Shelf({"a": sd1, "b": sd1}, "a", budget_bytes=int(1.5 * size))
    running = [shelf.wait("a")]
    assert shelf.get("b") is None
    assert shelf.get("b") is None
    running.clear()
    assert shelf.wait("b").name == "b"


def test_a_failed_load_is_told_to_everyone_and_tried_again_later(tmp_path: Path, sd1: Path) -> None:
    shelf = Shelf({"a": tmp_path / "a"}, "a")
    for _ in range(2):
        with pytest.raises(EngineFailed, match="The model a cannot be loaded"):
            shelf.wait("a")
    shutil.copytree(sd1, tmp_path / "a")
    shelf._failed.clear()  # half a minute later
    assert shelf.wait("a").name == "a"


def test_others_run_while_one_loads(sd1: Path, sdxl: Path) -> None:
    shelf = Shelf({"a": sd1, "b": sdxl}, "a")
    model = shelf.wait("a")
    assert shelf.get("b") is None
    steps = 0
    while shelf.get("b") is None:
        denoise(model, torch.zeros(1, 4, 8, 8), torch.tensor([1.0]), model.encode_text(["a cat"]))
        steps += 1
    assert steps > 0


@pytest.mark.slow
@pytest.mark.parametrize("openvino", [False, True], ids=["torch", "openvino"])
def test_a_hundred_switches_under_a_budget_for_two_leave_memory_flat(sd1: Path, tmp_path: Path, openvino: bool) -> None:
    """In a process of its own: the memory of a process that ran other tests is not flat to begin with."""
    code = f"""
import psutil
from pathlib import Path
from safelight.engine.shelf import Shelf
paths = dict.fromkeys("abc", Path({str(sd1)!r}))
how = {{"openvino": {openvino}, "compiled_path": Path({str(tmp_path)!r})}}
size = Shelf(paths, "a", **how).wait("a").bytes
shelf = Shelf(paths, "a", budget_bytes=int(2.5 * size), **how)
resident = []
for i in range(102):
    shelf.wait("abc"[i % 3])
    resident.append(psutil.Process().memory_info().rss)
loaded = [entry.name for entry in shelf.names() if entry.state == "loaded"]
early, late = (sorted(part)[len(part) // 2] for part in (resident[12:24], resident[-12:]))
print(early, late, len(loaded))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    early, late, loaded = map(int, done.stdout.split())
    assert loaded == 2
    assert abs(late - early) <= 0.05 * early
