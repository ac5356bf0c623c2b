"""What forgetting costs, and whether it grows with what is kept: an empty house, one with a million requests, in turns; a table and a plot.

Rows are put in by SQL, in the shape that a server leaves behind; the files of old requests are left out, since nothing here reads
them. Everything measured is done by the services that a server runs, on an embedded PostgreSQL, without HTTP and without an engine.

Run: python -m benchmarks.erasure --kept 0 10000 1000000 --out run/erasure.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from benchmarks import plots
from safelight.app import make_services
from safelight.ground import Ground, opened, prepare
from safelight.records import Account, AssetKind, Bitmap, ImageRequest, Job, Operation
from safelight.service.outbound import Outbound
from safelight.service.reconciler import Reconciler
from safelight.service.rescue import Rescue
from safelight.service.sealer import Sealer
from safelight.service.services import Services
from safelight.settings import Settings, read_settings
from safelight.storage import drawers
from safelight.storage.migrate import migrate
from safelight.storage.postgres import EmbeddedPostgres

ACCOUNTS = 100
PICTURE = os.urandom(400_000)  # as large as a PNG of 512 x 512
REQUEST = ImageRequest(operation=Operation.img2img, prompt="a red apple on a wooden table, soft light, " * 8)

NEIGHBOURS = "INSERT INTO accounts (name, webhook_secret) SELECT 'kept ' || n, '' FROM generate_series(1, {accounts}) n"
FURNISH = """
INSERT INTO jobs (id, account_id, state, file_prefix, rank, cost, steps, finished_at, created_at, attempt, fence, files, tells)
SELECT nextval('request_ids'), (SELECT max(id) FROM accounts) - n %% {accounts}, 'succeeded', gen_random_uuid()::text, 0, 1e6, 20, now(),
       now() - n * interval '1 second', 1, nextval('fences'), 1, false FROM generate_series(1, {kept}) n;
INSERT INTO requests (job_id, sealed) SELECT id, decode(repeat(md5(id::text), 22), 'hex') FROM jobs;
INSERT INTO request_keys (request_id, sent, master, wrapped)
SELECT id, sent, (SELECT mark FROM masters), decode(repeat(md5(id::text), 4), 'hex')
FROM jobs, (VALUES (true), (false)) v (sent);
INSERT INTO usage (job_id, account_id, pictures, cost, seconds) SELECT id, account_id, 1, 1e6, 1 FROM jobs;
INSERT INTO assets (account_id, request_id, kind, state, name, blob_key, fence, size, sealed, created_at)
SELECT account_id, id, kind, 'live', file_prefix || kind, kind || '/00/' || md5(id::text || kind) || '.png',
       CASE kind WHEN 'output' THEN fence ELSE 0 END, 400000, true, created_at
FROM jobs, (VALUES ('output'), ('init_image')) v (kind);
"""
Figures = dict[str, dict[str, dict[str, float]]]
"""What was measured, then how many are kept, then p50, p95 and how often."""

TEMPORARY = """
WITH ids AS (SELECT nextval('request_ids') AS id FROM generate_series(1, %(count)s)),
     keys AS (INSERT INTO request_keys (request_id, sent, master, wrapped)
              SELECT id, true, (SELECT mark FROM masters), decode(repeat(md5(id::text), 4), 'hex') FROM ids RETURNING request_id)
INSERT INTO assets (account_id, request_id, kind, state, name, blob_key, fence, size, sealed, temp, expires_at)
SELECT %(account)s, id, 'upload', 'live', md5(id::text) || '.png', 'upload/00/' || md5(id::text) || '.png', 0, 400000, true, true,
       now() + interval '1 day' FROM ids
"""


@dataclass(frozen=True)
class House:
    ground: Ground
    services: Services
    reconciler: Reconciler
    account: Account
    jobs: list[Job] = field(default_factory=list)

    @property
    def newest(self) -> Job:
        return self.jobs[-1]

    async def accepted(self, *, picture: bytes = PICTURE) -> Job:
        bitmap = Bitmap(picture, 512, 512, sha256(picture).hexdigest())
        self.jobs.append(await self.services.jobs.submit(self.account, REQUEST, {AssetKind.init_image: bitmap}))
        return self.newest


@asynccontextmanager
async def furnished(folder: Path, kept: int) -> AsyncIterator[tuple[House, float]]:
    """A house with so many requests of other accounts, filled unless it stands, and the seconds that its start took with them there."""
    stands = await asyncio.to_thread(folder.exists)
    settings = read_settings(data_dir=folder, account_queue=100_000, total_queue=100_000)
    server = EmbeddedPostgres(folder)
    address = server.start()
    try:
        await asyncio.to_thread(migrate, address)
        if not stands:
            async with _open(settings, address) as house:
                await _fill(house, kept)
        server.stop()
        began = time.perf_counter()
        address = server.start()
        await asyncio.to_thread(migrate, address)
        async with _open(settings, address) as house:
            yield house, time.perf_counter() - began
    finally:
        server.stop()


@asynccontextmanager
async def _open(settings: Settings, address: str) -> AsyncIterator[House]:
    ground = prepare(settings, address)
    services = make_services(ground, Outbound(frozenset()))
    sealer = Sealer(ground.database, ground.blobs, ground.vault)
    rescue = Rescue(settings, ground.database, ground.queue)
    reconciler = Reconciler(settings, ground.database, rescue, services.erasure, services.retention, sealer)
    async with opened(ground):
        await ground.vault.open(may_make=True)
        await services.erasure.replay.open()
        account = await services.accounts.create_account("measured")
        try:
            yield House(ground, services, reconciler, account)
        finally:
            services.inputs.close()


async def _fill(house: House, kept: int) -> None:
    database = house.ground.database
    newest = await database.one("drawers.newest_id")
    assert newest is not None
    for drawer in range(drawers.drawer_of(newest["id"]), drawers.drawer_of(newest["id"] + kept + 200_000) + 1):
        await drawers.make(database, drawer)
    async with database.outside_transaction() as session:
        await session.connection.execute(NEIGHBOURS.format(accounts=ACCOUNTS).encode())
        if kept:
            for statement in FURNISH.format(accounts=ACCOUNTS, kept=kept).replace("%%", "%").strip().split(";\n"):
                await session.connection.execute(statement.encode())
        await session.connection.execute("VACUUM ANALYZE")
        await session.connection.execute("CHECKPOINT")
    await database.run("tallies.fold")


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1000


async def accept(house: House) -> float:
    return await timed(house.accepted)


async def fetch(house: House) -> float:
    return await timed(partial(house.services.jobs.get, house.account, house.newest.id))


async def serve(house: House) -> float:
    upload = await house.services.assets.upload(house.account, Bitmap(PICTURE, 512, 512, ""))
    return await timed(partial(house.services.assets.open, upload.name))


async def delete_one(house: House) -> float:
    job = await house.accepted()
    return await timed(partial(house.services.erasure.delete, house.account, [job.id]))


async def delete_many(house: House) -> float:
    many = [(await house.accepted(picture=b"small")).id for _ in range(1000)]
    spent = await timed(partial(house.services.erasure.delete, house.account, many))
    await house.reconciler.keep_up()  # what the reply did not wait for would be measured in the next line
    return spent


async def clear(house: House, count: int) -> float:
    async with house.ground.database.transaction() as tx:
        await tx.connection.execute(TEMPORARY.encode(), {"account": house.account.id, "count": count})
    return await timed(partial(house.services.erasure.clear_cache, house.account))


async def numbers(house: House) -> float:
    return await timed(house.services.overview.statistics)


async def turn(house: House) -> float:
    return await timed(house.reconciler.keep_up)


async def turn_after_delete(house: House) -> float:
    await house.services.erasure.delete(house.account, [(await house.accepted()).id])
    return await turn(house)


async def part_anew(house: House) -> float:
    """The fullest: what is locked while an erasure is carried through the database's files."""
    find = "SELECT relname FROM pg_class WHERE relname ~ '^request_keys_[0-9]+$' ORDER BY relpages DESC LIMIT 1"
    async with house.ground.database.outside_transaction() as session:
        row = await (await session.connection.execute(find)).fetchone()
        assert row is not None
        return await timed(partial(session.connection.execute, f"VACUUM (FULL) {row['relname']}".encode()))


OFTEN, SOMETIMES, FEW = 100, 10, 3
THINGS: tuple[tuple[str, Callable[[House], Awaitable[float]], int], ...] = (
    ("accept", accept, OFTEN),
    ("fetch", fetch, OFTEN),
    ("serve a picture", serve, OFTEN),
    ("delete one", delete_one, OFTEN),
    ("delete 1,000", delete_many, FEW),
    ("clear a nearly empty cache", partial(clear, count=1), OFTEN),
    ("clear 10,000", partial(clear, count=10_000), FEW),
    ("numbers of /metrics", numbers, OFTEN),
    ("a turn of the reconciler, after all this", turn, FEW),
    ("a turn of the reconciler, after one delete", turn_after_delete, SOMETIMES),
    ("a part of the keys written anew", part_anew, SOMETIMES),
)


async def measured(houses: Mapping[str, House]) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each thing in each house, in turns: what else the machine does meanwhile is then the same for all."""
    times: dict[str, dict[str, list[float]]] = {}
    for name, thing, rounds in THINGS:
        times[name] = {kept: [] for kept in houses}
        for _ in range(rounds):
            for kept in random.sample(list(houses), len(houses)):
                times[name][kept].append(await thing(houses[kept]))
    return times


def share(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


async def examined(counts: Sequence[int], houses_in: Path | None) -> Figures:
    async with AsyncExitStack() as opened:
        folder = houses_in or opened.enter_context(tempfile.TemporaryDirectory(prefix="safelight-erasure-"))
        starts, houses = {}, {}
        for kept in counts:
            house, start = await opened.enter_async_context(furnished(Path(folder) / str(kept), kept))
            houses[f"{kept:,}"], starts[f"{kept:,}"] = house, [start * 1000]
        times = {"start": starts, **await measured(houses)}
    return {
        name: {
            kept: {"p50": round(share(each, 0.5), 1), "p95": round(share(each, 0.95), 1), "n": len(each)}
            for kept, each in by_kept.items()
        }
        for name, by_kept in times.items()
    }


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--kept", type=int, nargs="+", default=[0, 10_000, 1_000_000])
    read.add_argument("--houses", type=Path, help="where they stand, or are to; without it they are made and go again")
    read.add_argument("--out", type=Path, default=Path("run/erasure.json"))
    given = read.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    figures = asyncio.run(examined(given.kept, given.houses))
    loads = [round(each, 1) for each in (load, os.getloadavg()[0])]
    given.out.write_text(json.dumps({"load average before and after": loads, "milliseconds": figures}, indent=1))
    plots.forgetting(figures, given.out.with_suffix(".png"))
    print("| p50 / p95, ms | " + " | ".join(f"{kept:,} kept" for kept in given.kept) + " |")
    print("|---|" + "---|" * len(given.kept))
    for name, by_kept in figures.items():
        print(f"| {name} | " + " | ".join(f"{each['p50']} / {each['p95']}" for each in by_kept.values()) + " |")


if __name__ == "__main__":
    main()
