"""Editing and generating at once, each kind by an account of its own: what each gets done alone and together, and how long it waits.

Run: python -m benchmarks.mixed --out run/mixed.json
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from benchmarks.load import PHOTO, Server, served, share
from safelight.storage import postgres

CALLERS = 4  # of each kind; each asks again as soon as it was answered
LONGER = 6  # than alone: together everything takes longer, and a picture counts where it ends
AHEAD = 0.2  # of the time, before it begins: until everybody has something waiting
PLAIN = {"prompt": "a red apple", "num_inference_steps": 20, "safety_checker": "no", "enhance_prompt": "no"}
SQUARE = PLAIN | {"width": 512, "height": 512}
KINDS: dict[str, tuple[str, str | None, dict[str, Any]]] = {  # the page, its field for a picture, and the rest
    "text2img": ("v3/text2img", None, SQUARE),
    "img2img": ("v3/img2img", "init_image", SQUARE | {"strength": 0.7}),
    "outpaint": ("v6/image_editing/outpaint", "image", PLAIN | {"width": 768, "height": 512}),
    "super_resolution": ("v6/image_editing/super_resolution", "init_image", {"scale": 2}),
    "removebg_mask": ("v6/image_editing/removebg_mask", "image", {}),
}
DONE = """
SELECT a.name, j.cost, extract(epoch FROM j.started_at - j.created_at)::float, extract(epoch FROM j.finished_at - j.created_at)::float
FROM jobs j JOIN accounts a ON a.id = j.account_id WHERE j.state = 'succeeded' AND j.finished_at BETWEEN %s AND %s
"""


@dataclass(frozen=True)
class Got:
    """What one kind came to within a time."""

    pictures: int
    cost: float
    waited: Sequence[float]  # seconds until it was begun
    took: Sequence[float]  # seconds until it was there

    def figures(self, all_cost: float) -> dict[str, float]:
        """Pictures a minute by the median of what one takes: what ends within a time comes in fours, and would be counted coarsely."""
        took, waited = list(self.took), list(self.waited)
        return {
            "pictures": self.pictures,
            "pictures a minute": round(CALLERS * 60 / share(took, 0.5), 1) if took else 0.0,
            "waited p50": round(share(waited, 0.5), 2),
            "waited p95": round(share(waited, 0.95), 2),
            "took p50": round(share(took, 0.5), 2),
            "took p95": round(share(took, 0.95), 2),
            "share of cost": round(self.cost / all_cost, 3) if all_cost else 0.0,
        }


async def call_again(client: httpx.AsyncClient, key: str, kind: str, stop: asyncio.Event) -> None:
    path, field, body = KINDS[kind]
    given = {field: base64.b64encode(PHOTO.read_bytes()).decode()} if field else {}
    for seed in itertools.count(1):
        if stop.is_set():
            return
        told = (await client.post(f"/api/{path}", json={"key": key, **given, **body, "seed": seed})).json()
        number = told.get("id")
        while told["status"] == "processing":
            await asyncio.sleep(0.5)
            told = (await client.post(f"/api/v3/fetch/{number}", json={"key": key})).json()
        assert told["status"] == "success", told


async def measured(
    server: Server, keys: dict[str, str], kinds: Sequence[str], seconds: float
) -> dict[str, dict[str, float]]:
    """By kind. What was begun before and ended within counts, what ends later does not: as many come in as go out."""
    url, stop = postgres.url_of(postgres.socket_folder(Path(server.data))), asyncio.Event()
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):
        callers = [
            asyncio.create_task(call_again(client, keys[kind], kind, stop)) for kind in kinds for _ in range(CALLERS)
        ]
        await asyncio.sleep(seconds * AHEAD)
        began = await _now(connection)
        await asyncio.wait(callers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        rows = await (await connection.execute(DONE, (began, await _now(connection)))).fetchall()
        stop.set()
        await asyncio.gather(*callers)
    found = {kind: _got([row for row in rows if row[0] == kind]) for kind in kinds}
    cost = sum(got.cost for got in found.values())
    return {kind: got.figures(cost) for kind, got in found.items()}


async def _now(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> Any:
    row = await (await connection.execute("SELECT now()")).fetchone()
    assert row
    return row[0]


def _got(rows: Sequence[tuple[Any, ...]]) -> Got:
    return Got(len(rows), sum(row[1] for row in rows), [row[2] for row in rows], [row[3] for row in rows])


async def compare(server: Server, seconds: float) -> dict[str, Any]:
    keys = {kind: server.stranger(kind) for kind in KINDS}
    await measured(server, keys, list(KINDS), seconds)  # once unmeasured: networks are loaded and row counts tried out
    alone = {kind: (await measured(server, keys, [kind], seconds))[kind] for kind in KINDS}
    return {"alone": alone, "together": await measured(server, keys, list(KINDS), seconds * LONGER)}


def table(found: dict[str, Any]) -> str:
    lines = [
        "| kind | a minute, alone | together | waited p50 / p95, alone | together | took p50 / p95, alone | together | share of cost |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        alone, together = found["alone"][kind], found["together"][kind]
        each = [
            f"{part[f'{what} p50']} / {part[f'{what} p95']} s"
            for what in ("waited", "took")
            for part in (alone, together)
        ]
        rates = [str(part["pictures a minute"]) for part in (alone, together)]
        part_of_all = f"{together['share of cost']:.1%}"
        lines.append(f"| {' | '.join([kind, *rates, *each, part_of_all])} |")
    return "\n".join(lines)


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--seconds", type=float, default=15.0, help="of each part alone")
    read.add_argument("--out", type=Path, default=Path("run/mixed.json"))
    given = read.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    with served(given.out.with_suffix(".log")) as server:
        found = asyncio.run(compare(server, given.seconds))
    given.out.write_text(
        json.dumps({"load average before": round(load, 1), "seconds": given.seconds, **found}, indent=1)
    )
    print(f"{table(found)}\n\nLoad average before: {load:.1f}")


if __name__ == "__main__":
    main()
