"""The log of deletions as a file: what power cuts, other writers, full disks and meddlers do to it."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from safelight.errors import Damaged, Unavailable
from safelight.storage.deletion_log import SPARE, Deletion, DeletionLog, Place, mark_of

pytestmark = pytest.mark.anyio


def a_deletion(number: int, count: int = 1) -> Deletion:
    ids = {str(number * 1000 + each): mark_of(f"name {each}") for each in range(count)}
    return Deletion(f"receipt-{number}", 1, 2, "job", "2026-11-25T12:00:00+00:00", ids)


@pytest.fixture
def log(tmp_path: Path) -> DeletionLog:
    made = DeletionLog(tmp_path / "new" / "deletions.log")
    made.open()
    return made


def told(log: DeletionLog) -> list[str]:
    """The receipts, as somebody reads them who comes anew."""
    return [each.receipt for _, deletions in DeletionLog(log.path).read() for each in deletions]


async def test_what_is_appended_is_read(log: DeletionLog) -> None:
    for number in range(3):
        await log.append(a_deletion(number, 3))
    found = [each for _, deletions in log.read() for each in deletions]
    assert found == [a_deletion(number, 3) for number in range(3)]
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert log.open() == DeletionLog(log.path).open()


async def test_reading_goes_on_from_a_place(log: DeletionLog) -> None:
    await log.append(a_deletion(1))
    place = [place for place, _ in log.read()][-1]
    assert place.lines == 1
    assert list(log.read(place)) == []
    await log.append(a_deletion(2))
    assert [each.receipt for _, deletions in log.read(place) for each in deletions] == ["receipt-2"]


async def test_many_at_once_in_two_writers(log: DeletionLog) -> None:
    other = DeletionLog(log.path)
    numbers = range(40)
    await asyncio.gather(*((log, other)[number % 2].append(a_deletion(number)) for number in numbers))
    assert sorted(told(log)) == sorted(f"receipt-{number}" for number in numbers)
    assert sum(1 for _ in log.read()) < 40, "those who come together are to share a line"


APPENDING = """
import asyncio, os, resource, signal, sys
from pathlib import Path
from safelight.storage.deletion_log import Deletion, DeletionLog
async def main():
    log = DeletionLog(Path(sys.argv[1]))
    if sys.argv[4:]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]),) * 2)
    for number in range(int(sys.argv[3])):
        await log.append(Deletion(f"{sys.argv[2]}-{number}", 1, None, "job", "now", {"1": "m"}))
asyncio.run(main())
"""


async def test_processes_take_turns(log: DeletionLog) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", APPENDING, str(log.path), name, "25"]) for name in "abc"]
    assert [await asyncio.to_thread(writer.wait, 60) for writer in writers] == [0, 0, 0]
    assert sorted(told(log)) == sorted(f"{name}-{number}" for name in "abc" for number in range(25))


@pytest.mark.parametrize("kept", [1, 40, 200])
async def test_a_line_that_was_cut_off_makes_room(log: DeletionLog, kept: int) -> None:
    """As after a power cut in the middle of a write: some bytes of the line are there, and behind them what was reserved."""
    await log.append(a_deletion(1))
    end = [place for place, _ in log.read()][-1].bytes
    await log.append(a_deletion(2))
    with log.path.open("r+b") as file:
        file.seek(end + kept)
        file.write(bytes(SPARE))
    assert told(log) == ["receipt-1"]
    await DeletionLog(log.path).append(a_deletion(3))
    await log.append(a_deletion(4))
    assert told(log) == ["receipt-1", "receipt-3", "receipt-4"]


async def test_a_line_whose_beginning_was_lost_makes_room(log: DeletionLog) -> None:
    await log.append(a_deletion(1))
    end = [place for place, _ in log.read()][-1].bytes
    await log.append(a_deletion(2, 30))
    with log.path.open("r+b") as file:
        file.seek(end)
        file.write(bytes(100))
    await DeletionLog(log.path).append(a_deletion(3))
    assert told(log) == ["receipt-1", "receipt-3"]


@pytest.mark.parametrize("line", [1, 2, 3])
async def test_a_line_that_was_changed_is_found(log: DeletionLog, line: int) -> None:
    for number in range(3):
        await log.append(a_deletion(number))
    whole = log.path.read_bytes()
    lines = whole.split(b"\n")
    lines[line] = lines[line].replace(b'"job"', b'"jog"')
    log.path.write_bytes(b"\n".join(lines))
    with pytest.raises(Damaged, match=f"line {line + 1} does not follow"):
        told(log)
    with pytest.raises(Unavailable):
        await DeletionLog(log.path).append(a_deletion(9))


async def test_lines_that_were_taken_out_are_missed(log: DeletionLog) -> None:
    for number in range(3):
        await log.append(a_deletion(number))
    place = [place for place, _ in log.read()][-1]
    lines = log.path.read_bytes().split(b"\n")
    log.path.write_bytes(b"\n".join(lines[:1] + lines[2:]))
    with pytest.raises(Damaged, match="line 2 does not follow"):
        told(log)
    log.path.write_bytes(b"\n".join([*lines[:3], b""]))
    assert told(log) == ["receipt-0", "receipt-1"]
    with pytest.raises(Damaged, match="ends before what was read"):
        list(log.read(place))


async def test_zeros_in_the_middle_are_no_end(log: DeletionLog) -> None:
    for number in range(3):
        await log.append(a_deletion(number))
    first = next(place for place, _ in log.read() if place.lines == 0)
    with log.path.open("r+b") as file:
        file.seek(first.bytes)
        file.write(bytes(300))
    with pytest.raises(Damaged):
        told(log)


async def test_a_log_that_went_away_is_not_begun_anew_by_a_deletion(log: DeletionLog) -> None:
    log.path.rename(log.path.with_name("elsewhere"))
    with pytest.raises(Unavailable, match="nothing was deleted"):
        await log.append(a_deletion(1))
    assert not log.path.exists()


async def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"hello\n", b"{} " + b"0" * 64 + b"\n"):
        (tmp_path / "log").write_bytes(content)
        with pytest.raises(Damaged):
            DeletionLog(tmp_path / "log").open()


def test_a_full_disk_leaves_room_for_many_deletions(log: DeletionLog) -> None:
    """A file that may not grow any more, as on a full disk: what was reserved is enough for hundreds."""
    filling = subprocess.run(
        [sys.executable, "-c", APPENDING, str(log.path), "d", "300", "full"], timeout=120, check=False
    )
    assert filling.returncode == 0
    assert len(told(log)) == 300


async def test_nothing_is_read_behind_a_place_that_never_was(log: DeletionLog) -> None:
    with pytest.raises(Damaged):
        list(log.read(Place(10_000, 3, "f" * 64)))
