"""What forgetting costs, and whether it grows with what is kept: an empty house against one with a million requests; a table and a plot.

Rows are put in by SQL, in the shape that a server leaves behind; the files of old requests are left out, since nothing here reads
them. Everything measured is done by the services that a server runs, on an embedded PostgreSQL, without HTTP and without an engine.

Run: python -m benchmarks.erasure --kept 0 1000000 --out run/erasure.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from benchmarks import plots
from safelight import app
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
    ground: app.Ground
    services: Services
    reconciler: Reconciler
    account: Account

    async def accepted(self, *, picture: bytes = PICTURE) -> Job:
        bitmap = Bitmap(picture, 512, 512, sha256(picture).hexdigest())
        return await self.services.jobs.submit(self.account, REQUEST, {AssetKind.init_image: bitmap})


@asynccontextmanager
async def furnished(folder: Path, kept: int) -> AsyncIterator[tuple[House, float]]:
    """A house with so many requests of other accounts, and the seconds that its start took with them there."""
    settings = read_settings(data_dir=folder, account_queue=100_000, total_queue=100_000)
    server = EmbeddedPostgres(folder)
    address = server.start()
    try:
        await asyncio.to_thread(migrate, address)
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
    ground = app.prepare(settings, address)
    services = app.make_services(ground, Outbound(frozenset()))
    sealer = Sealer(ground.database, ground.blobs, ground.vault)
    rescue = Rescue(settings, ground.database, ground.queue)
    reconciler = Reconciler(settings, ground.database, rescue, services.erasure, services.retention, sealer)
    async with app.opened(ground):
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


async def measure(house: House, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each."""
    jobs, found = house.services.jobs, house.services
    times: dict[str, list[float]] = {}
    accepted: list[Job] = []

    async def accept() -> None:
        accepted.append(await house.accepted())

    times["accept"] = [await timed(accept) for _ in range(rounds)]
    ids = [job.id for job in accepted]
    times["fetch"] = [await timed(partial(jobs.get, house.account, each)) for each in ids]
    uploads = [await found.assets.upload(house.account, Bitmap(PICTURE, 512, 512, "")) for _ in range(rounds)]
    times["serve a picture"] = [await timed(partial(found.assets.open, each.name)) for each in uploads]
    times["delete one"] = [await timed(partial(found.erasure.delete, house.account, [each])) for each in ids]
    many = [(await house.accepted(picture=b"small")).id for _ in range(1000)]
    times["delete 1,000"] = [await timed(lambda: found.erasure.delete(house.account, many))]
    await house.reconciler.keep_up()  # what the reply did not wait for would be measured in the next line
    times["clear a nearly empty cache"] = [await _cleared(house, 1) for _ in range(rounds)]
    times["clear 10,000"] = [await _cleared(house, 10_000)]
    times["numbers of /metrics"] = [await timed(found.overview.statistics) for _ in range(rounds)]
    times["a turn of the reconciler, after all this"] = [await timed(house.reconciler.keep_up)]
    times["a turn of the reconciler, after one delete"] = [await _turn_after_delete(house) for _ in range(10)]
    times["a part of the keys written anew"] = [await _part_anew(house) for _ in range(10)]
    return times


async def _put_temporary(house: House, count: int) -> None:
    async with house.ground.database.transaction() as tx:
        await tx.connection.execute(TEMPORARY.encode(), {"account": house.account.id, "count": count})


async def _cleared(house: House, count: int) -> float:
    await _put_temporary(house, count)
    return await timed(lambda: house.services.erasure.clear_cache(house.account))


async def _turn_after_delete(house: House) -> float:
    await house.services.erasure.delete(house.account, [(await house.accepted()).id])
    return await timed(house.reconciler.keep_up)


async def _part_anew(house: House) -> float:
    """The fullest: what is locked while an erasure is carried through the database's files."""
    find = "SELECT relname FROM pg_class WHERE relname ~ '^request_keys_[0-9]+$' ORDER BY relpages DESC LIMIT 1"
    async with house.ground.database.outside_transaction() as session:
        row = await (await session.connection.execute(find)).fetchone()
        assert row is not None
        return await timed(lambda: session.connection.execute(f"VACUUM (FULL) {row['relname']}".encode()))


def share(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


async def examined(kept: int, rounds: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="safelight-erasure-") as folder:
        async with furnished(Path(folder) / "d", kept) as (house, start):
            times = {"start": [start * 1000], **await measure(house, rounds)}
    return {
        name: {"p50": round(share(values, 0.5), 1), "p95": round(share(values, 0.95), 1), "n": len(values)}
        for name, values in times.items()
    }


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--kept", type=int, nargs="+", default=[0, 1_000_000])
    read.add_argument("--rounds", type=int, default=100)
    read.add_argument("--out", type=Path, default=Path("run/erasure.json"))
    given = read.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    figures = {f"{kept:,}": asyncio.run(examined(kept, given.rounds)) for kept in given.kept}
    given.out.write_text(json.dumps({"load average before": load, "milliseconds": figures}, indent=1))
    plots.forgetting(figures, given.out.with_suffix(".png"))
    names = list(next(iter(figures.values())))
    print("| p50 / p95, ms | " + " | ".join(f"{kept} kept" for kept in figures) + " |")
    print("|---|" + "---|" * len(figures))
    for name in names:
        print(
            f"| {name} | "
            + " | ".join(f"{each[name]['p50']} / {each[name]['p95']}" for each in figures.values())
            + " |"
        )


if __name__ == "__main__":
    main()
