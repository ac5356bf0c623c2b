"""What sealing costs: a picture accepted, asked about and read, with every request's own key, and with nothing sealed at all.

Both take turns on one server, so that what else the machine does falls on both. Without keys means none is made, kept or looked up, and
bytes go as they are. With, keys are looked up anew each time, as by a process that has not read that request yet.

Run: python -m benchmarks.sealing --out run/sealing.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from benchmarks.erasure import PICTURE, House, furnished, share
from safelight.records import Bitmap
from safelight.service.seals import SEALED_BYTES, Seal
from safelight.service.vault import Vault

T = TypeVar("T")


@contextmanager
def _nothing_sealed() -> Iterator[None]:
    padding, none = bytes(SEALED_BYTES), Seal.new()

    async def keep(*_: object, **__: object) -> None: ...

    async def seal_of(*_: object, **__: object) -> Seal:
        return none

    with ExitStack() as without:
        for kind, name, instead in (
            (Seal, "close", lambda _seal, data, _place: data + padding),
            (Seal, "open", lambda _seal, data, _place: data[: -len(padding)]),
            (Vault, "keep", keep),
            (Vault, "seal_of", seal_of),
        ):
            without.enter_context(patch.object(kind, name, instead))
        yield


WAYS: dict[str, Callable[[], AbstractContextManager[None]]] = {"sealed": nullcontext, "in the clear": _nothing_sealed}


async def measure(house: House) -> dict[str, float]:
    """Milliseconds of each part of one picture's life."""
    jobs, assets = house.services.jobs, house.services.assets
    times = {}

    async def part(name: str, work: Callable[[], Awaitable[T]]) -> T:
        house.ground.vault._remembered.clear()  # noqa: SLF001
        began = time.perf_counter()
        done = await work()
        times[name] = (time.perf_counter() - began) * 1000
        return done

    job = await part("accept, with a picture", house.accepted)
    await part("fetch", lambda: jobs.get(house.account, job.id))
    kept = await part("keep a picture", lambda: assets.upload(house.account, Bitmap(PICTURE, 512, 512, "")))
    await part("serve it", lambda: assets.open(kept.name))
    await house.services.erasure.delete(house.account, [job.id])
    return times


async def examined(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="safelight-sealing-") as folder:
        async with furnished(Path(folder) / "d", 0) as (house, _):
            for _ in range(rounds):
                for way, made in WAYS.items():
                    with made():
                        found[way].append(await measure(house))
    return {
        part: {
            way: {"p50": share([each[part] for each in times], 0.5), "p95": share([each[part] for each in times], 0.95)}
            for way, times in found.items()
        }
        for part in next(iter(found.values()))[0]
    }


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--rounds", type=int, default=300)
    read.add_argument("--out", type=Path, default=Path("run/sealing.json"))
    given = read.parse_args()
    load = os.getloadavg()[0]
    figures = asyncio.run(examined(given.rounds))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"load average before": load, "milliseconds": figures}, indent=1))
    print("| p50 / p95, ms | " + " | ".join(WAYS) + " |\n|---|" + "---|" * len(WAYS))
    for part, ways in figures.items():
        print(f"| {part} | " + " | ".join(f"{each['p50']:.2f} / {each['p95']:.2f}" for each in ways.values()) + " |")


if __name__ == "__main__":
    main()
