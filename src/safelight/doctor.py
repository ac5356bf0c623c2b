"""Looks at everything a server stands on. Each finding says ok, or what to do; one that fails does not keep the others back."""

from __future__ import annotations

import asyncio
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import psycopg

from safelight import __version__, commands
from safelight.checkpoints import named_checkpoints
from safelight.door import unreachable
from safelight.errors import Damaged, SafelightError, Unavailable
from safelight.ground import database_address
from safelight.service.examination import Finding
from safelight.service.replay import GO_ON, known_logs
from safelight.service.stocktaking import last
from safelight.service.wishes import Wishes
from safelight.settings import Settings
from safelight.storage import postgres
from safelight.storage.blobs import new_key, open_blobs
from safelight.storage.deletion_log import DeletionLog
from safelight.storage.invariants import RULES, broken

LITTLE_DISK = 2 * 2**30  # bytes
CLOCK_SLACK = 2.0  # seconds
LOOKS, LOOK_PAUSE = 3, 5.0  # how often what is kept is read before it is called wrong, and the seconds between
PARTS = ("torch", "diffusers", "transformers", "psycopg", "procrastinate", "obstore", "pillow")


def examine(settings: Settings, *, deep: bool = False, quick: bool = False) -> Iterator[Finding]:
    looks = EXAMINATIONS | (DEEP if deep else {})
    for part, look in ((part, look) for part, look in looks.items() if not (quick and part in LONG)):
        try:
            yield Finding(part, True, look(settings))
        except SafelightError as error:
            yield Finding(part, False, error.message)
        except Exception as error:  # noqa: BLE001  # whatever is wrong is what we are here to tell
            yield Finding(part, False, f"{type(error).__name__}: {error}".splitlines()[0])


def versions(_settings: Settings) -> str:
    parts = ", ".join(f"{name} {version(name)}" for name in PARTS)
    return f"safelight {__version__}, Python {platform.python_version()}, {parts}"


def address(settings: Settings) -> str:
    if (said := unreachable(settings)) is not None:
        raise SafelightError(said)
    return f"{settings.base_url} begins every address in a reply"


def device(settings: Settings) -> str:
    import torch

    from safelight.engine.openvino import installed

    gpus = [name for name in settings.devices if name.startswith("cuda")]
    if gpus and torch.cuda.device_count() < len(set(gpus)):
        raise SafelightError(
            f"Setting device is {settings.device!r} and this torch sees {torch.cuda.device_count() or 'no'} GPU. "
            "Use auto, or install a CUDA build of torch."
        )
    if gpus or (settings.device == "auto" and torch.cuda.is_available()):
        return "; ".join(_gpu(name) for name in gpus or ["cuda"])
    found = installed()
    faster = f"OpenVINO {found}" if found else "without OpenVINO (pip install 'safelight[cpu]')"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, {faster}"


def _gpu(device: str) -> str:
    import torch

    size = torch.cuda.get_device_properties(device).total_memory
    return f"{torch.cuda.get_device_name(device)}, {size / 2**30:.0f} GiB"


def disk(settings: Settings) -> str:
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SafelightError(
            f"{settings.data_dir} cannot be made: {error.strerror}. Choose another with --data-dir."
        ) from None
    free = shutil.disk_usage(settings.data_dir).free
    if free < LITTLE_DISK:
        raise SafelightError(
            f"{free / 2**30:.1f} GiB free under {settings.data_dir}. Free some space, or set SAFELIGHT_OUTPUT_DAYS."
        )
    return f"{free / 2**30:.0f} GiB free under {settings.data_dir}"


def database(settings: Settings) -> str:
    with _connected(settings) as (connection, how):
        row = connection.execute(
            "SELECT current_setting('server_version'), pg_size_pretty(pg_database_size(current_database()))"
        ).fetchone()
    assert row is not None
    return f"PostgreSQL {row[0]}, {how}, {row[1]}"


def clock(settings: Settings) -> str:
    with _connected(settings) as (connection, _):
        row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row is not None
    apart = abs(time.time() - row[0])
    if apart > CLOCK_SLACK:
        raise SafelightError(f"This machine and the database are {apart:.0f} s apart. Synchronise their clocks (NTP).")
    return f"{apart * 1000:.0f} ms from the database's"


def blob_store(settings: Settings) -> str:
    asyncio.run(_round_trip(settings))
    return f"{settings.blobs_url}: written, read, deleted, and nothing of it is left"


async def _round_trip(settings: Settings) -> None:
    blobs, key = open_blobs(settings.blobs_url), new_key("doctor", ".txt")
    try:
        await blobs.put(key, b"well")
    except (Unavailable, OSError) as error:
        cause = error.__cause__ or error
        reason = getattr(cause, "strerror", None) or cause
        raise SafelightError(
            f"{settings.blobs_url} cannot be written: {reason}. Correct that, or choose another with --blob-url."
        ) from error
    try:
        if await blobs.get(key) != b"well":
            raise SafelightError(f"{settings.blobs_url} gives back other bytes than it was given.")
        await blobs.leave_half(key)
    finally:
        await blobs.delete(key)
    if await blobs.left(key):
        raise SafelightError(f"{settings.blobs_url} keeps what was deleted. Is it locked, or under retention?")


def model(settings: Settings) -> str:
    from safelight import workshop

    settings = named_checkpoints(settings)
    with workshop.engine_of(settings) as (shelf, _):
        began = time.perf_counter()
        loaded = shelf.wait(None)
    scale = f", draws at {loaded.native_size} px" if loaded.native_size else ""
    parts = ", ".join(f"{name} {size / 2**20:.0f}" for name, size in loaded.footprint.apart.items())
    where = {"cpu": "; encoders beside the device", "drop": "; encoders only while prompts are read"}
    size = f"{loaded.bytes / 2**20:.0f} MiB in memory ({parts}{where.get(loaded.footprint.place, '')})"
    return f"{settings.model}: {size}, loaded in {time.perf_counter() - began:.1f} s, runs on {loaded.runtime}{scale}"


def what_is_kept(settings: Settings) -> str:
    """Asked again where it is not so: a house at work is always in the middle of something."""
    for _ in range(LOOKS):
        wrong = asyncio.run(commands.on_ground(settings, lambda ground: broken(ground.database, ground.blobs)))
        if not wrong:
            return f"{len(RULES)} rules hold, every file has its row, and the counts are what a recount finds"
        time.sleep(LOOK_PAUSE)
    told = "; ".join(f"{rule}: {len(found)}, such as {found[0]}" for rule, found in wrong.items())
    raise SafelightError(f"It is not so that {told}. Please report it.")


def stock(settings: Settings) -> str:
    """How the last daily comparison of files and rows ended."""
    found = asyncio.run(commands.on_ground(settings, lambda ground: last(ground.database)))
    if found is None:
        return "files and rows were not compared yet; a server does so once a day"
    told = (
        f"of {found.files} files {found.strays} had no row, {found.lost} rows had no file ({found.at:%Y-%m-%d %H:%M}); "
        f"{found.removed} files were removed so far"
    )
    if found.others:
        raise SafelightError(
            f"{told}. Another database keeps its files here too, so none are removed: give each a place of its own, or delete "
            f"{found.others[0]} if that database is no more."
        )
    if found.strays or found.lost:
        raise SafelightError(
            f"{told}. Files without a row go after SAFELIGHT_STRAY_DAYS; a lost file is in a backup, or lost."
        )
    return told


def deletions(settings: Settings) -> str:
    """The chain from its first line on, and whether the database has read what the log does not have."""
    held = DeletionLog(settings.deletion_log_path)
    known = asyncio.run(commands.on_ground(settings, lambda ground: known_logs(ground.database)))
    if not held.path.exists():
        if (lost := next((each for each in known if each.is_at(held.path)), None)) is not None:
            raise SafelightError(f"The log of {lost.place.lines} lines at {held.path} is gone. {GO_ON}")
        return f"no log is at {held.path} yet; the first start of a server begins one"
    try:
        began = held.beginning()
        told = sum(len(line) for _, line in held.read())
        for each in known:
            if each.id == began.log:
                next(held.read(each.place), None)
    except Damaged as damaged:
        raise SafelightError(f"{damaged.message} {GO_ON}") from damaged
    others = [f"{each.host}:{each.path} ({each.place.lines} lines)" for each in known if each.id != began.log]
    beside = f"; other logs of this database: {', '.join(others)}" if others else ""
    return f"{told} in {held.path} since {began.begun[:10]}, and the chain holds{beside}"


def wishes(settings: Settings) -> str:
    """What callers asked for in vain, the most wanted first."""
    found = asyncio.run(commands.on_ground(settings, lambda ground: Wishes(ground.database).most()))
    if not found:
        return "nothing that is not here was asked for"
    return "asked for and not here: " + ", ".join(f"{wish.what} ({wish.times})" for wish in found)


@contextmanager
def _connected(settings: Settings) -> Iterator[tuple[psycopg.Connection[tuple[Any, ...]], str]]:
    running = settings.database_url or postgres.find(settings.data_dir)
    how = "yours" if settings.database_url else "embedded, running" if running else "embedded, started for this look"
    with database_address(settings.model_copy(update={"database_url": running})) as address:
        try:
            connection = psycopg.connect(address, connect_timeout=5)
        except psycopg.Error as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise SafelightError(
                f"It does not answer: {reason}. Check that it runs, and the address given with --database-url."
            ) from None
        with connection:
            yield connection, how


EXAMINATIONS: dict[str, Callable[[Settings], str]] = {
    "versions": versions,
    "address": address,
    "device": device,
    "disk": disk,
    "database": database,
    "clock": clock,
    "blob store": blob_store,
    "model": model,
    "deletions": deletions,
    "wishes": wishes,
}
LONG = frozenset({"model"})
DEEP: dict[str, Callable[[Settings], str]] = {"what is kept": what_is_kept, "stocktaking": stock}
