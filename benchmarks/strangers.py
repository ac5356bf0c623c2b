"""Is another's told from what never was by how long the answer takes? Every way to name a thing, asked by a stranger, both in turn.

Run: python -m benchmarks.strangers --out run/strangers.json
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load import served

ROUNDS = 200
NEVER = {"id": 999_999_999_999, "prefix": "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10"}
NEVER |= {"name": f"{NEVER['prefix']}-0.png", "receipt": NEVER["prefix"]}

Thing = dict[str, Any]
Ask = Callable[[Thing], tuple[str, str, dict[str, Any]]]
ASKS: dict[str, Ask] = {
    "`v3/fetch`": lambda it: ("POST", f"/api/v3/fetch/{it['id']}", {}),
    "`v3/delete_image`, by id": lambda it: ("POST", "/api/v3/delete_image", {"request_id": it["id"]}),
    "`v3/delete_image`, by name": lambda it: ("POST", "/api/v3/delete_image", {"image": it["name"]}),
    "`infobytaskid`": lambda it: ("POST", "/v1/images/infobytaskid", {"taskid": it["prefix"]}),
    "`deleteimagestask`": lambda it: ("POST", "/v1/images/deleteimagestask", {"taskids": [it["prefix"]]}),
    "`GET /v1/jobs/{id}`": lambda it: ("GET", f"/v1/jobs/{it['id']}", {}),
    "`GET /v1/jobs/{id}/events`": lambda it: ("GET", f"/v1/jobs/{it['id']}/events", {}),
    "`DELETE /v1/jobs/{id}`": lambda it: ("DELETE", f"/v1/jobs/{it['id']}", {}),
    "`DELETE /v1/assets/{name}`": lambda it: ("DELETE", f"/v1/assets/{it['name']}", {}),
    "`POST /v1/erasures`": lambda it: ("POST", "/v1/erasures", {"ids": [it["id"]]}),
    "`GET /v1/erasures/{id}`": lambda it: ("GET", f"/v1/erasures/{it['receipt']}", {}),
}


def made(client: httpx.Client, key: str) -> Thing:
    """Somebody's picture, and the receipt of another that was erased."""
    body = {
        "key": key,
        "prompt": "a red apple",
        "width": 64,
        "height": 64,
        "num_inference_steps": 2,
        "safety_checker": "no",
    }
    kept, lost = (client.post("/api/v3/text2img", json=body).json() for _ in range(2))
    receipt = client.post("/api/v3/delete_image", json={"key": key, "request_id": lost["id"]}).headers[
        "x-safelight-receipt"
    ]
    prefix = kept["meta"]["file_prefix"]
    return {"id": kept["id"], "prefix": prefix, "name": f"{prefix}-0.png", "receipt": receipt}


def seconds(client: httpx.Client, key: str, ask: Ask, thing: Thing) -> float:
    method, path, body = ask(thing)
    began = time.perf_counter()
    reply = client.request(method, path, json=body, headers={"key": key})
    took = time.perf_counter() - began
    assert reply.status_code in (400, 404), (path, reply.status_code)
    return took


def measured(client: httpx.Client, key: str, ask: Ask, things: dict[str, Thing]) -> dict[str, float]:
    """In turn, in an order that is drawn each time; a median, and the middle half as its noise, in milliseconds."""
    took: dict[str, list[float]] = {name: [] for name in things}
    for _ in range(ROUNDS):
        for name in random.sample(list(things), len(things)):
            took[name].append(seconds(client, key, ask, things[name]) * 1000)
    quarters = statistics.quantiles(took["foreign"] + took["never"], n=4)
    return {name: statistics.median(each) for name, each in took.items()} | {"noise": quarters[2] - quarters[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("run/strangers.json"))
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    with served(out.with_suffix(".log")) as server, httpx.Client(base_url=server.url, timeout=120) as client:
        things = {"foreign": made(client, server.key), "never": NEVER}
        stranger = server.stranger()
        found = {name: measured(client, stranger, ask, things) for name, ask in ASKS.items()}
    out.write_text(json.dumps(found, indent=1))
    print("| asked | another's, ms | never was, ms | apart | middle half |\n|---|---|---|---|---|")
    for name, it in found.items():
        apart = it["foreign"] - it["never"]
        print(f"| {name} | {it['foreign']:.2f} | {it['never']:.2f} | {apart:+.2f} | {it['noise']:.2f} |")


if __name__ == "__main__":
    main()
