"""What is found out once: by one process of several, for all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from safelight.engine.remembered import Remembered

# A worker that would answer with its own number, and says what it believes then.
WORKER = """
import json, pathlib, sys
from safelight.engine.remembered import Remembered

memory, number = Remembered(pathlib.Path(sys.argv[1])), int(sys.argv[2])
print(json.dumps({str(key): memory.recall(str(key), lambda: number) for key in range(50)}))
"""


def test_workers_of_one_folder_believe_the_same(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, path, str(number)], stdout=subprocess.PIPE)
        for number in range(3)
    ]
    believed = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]
    assert believed == [json.loads(path.read_text())] * 3
    assert len(believed[0]) == 50


def test_who_comes_while_another_finds_out_waits_for_that(tmp_path: Path) -> None:
    """Also with a memory of its own that was made before."""
    path = tmp_path / "it.json"
    first, second = Remembered(path), Remembered(path)
    with ThreadPoolExecutor(1) as pool:
        later = []

        def find() -> int:
            later.append(pool.submit(second.recall, "key", never))
            return 1

        assert first.recall("key", find) == 1
        assert later[0].result(60) == 1


def never() -> int:
    raise AssertionError("it was found out twice")


def test_what_another_found_out_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    first, second = Remembered(path), Remembered(path)
    said: list[Callable[[], int]] = [lambda: 1, lambda: 2]
    assert (first.recall("a", said[0]), second.recall("b", said[1])) == (1, 2)
    assert json.loads(path.read_text()) == {"a": 1, "b": 2}
    assert first.recall("b", never) == 2


def test_what_was_not_found_out_is_asked_again(tmp_path: Path) -> None:
    memory = Remembered(tmp_path / "it.json")
    with pytest.raises(ZeroDivisionError):
        memory.recall("a", lambda: 1 // 0)
    assert memory.recall("a", lambda: 1) == 1


def test_a_file_that_holds_no_answers_is_written_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "it.json"
    path.write_text('{"a": ')
    assert Remembered(path).recall("a", lambda: 1) == 1
    assert "found out anew" in caplog.text
    assert json.loads(path.read_text()) == {"a": 1}
