"""Runs the benchmark: equality first, then capacity at saturation, then latency under open-loop load; table, JSON, plots.

python -m benchmarks.run [--checkpoint FOLDER | --architecture small|sd15|sdxl|sd35|flux|zimage|qwen] [--device cuda] [--out run/bench]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import architectures, plots, workload
from benchmarks.peers import Compiled, Make, Ours, Peer, can_compile, peers
from benchmarks.workload import Arrival
from safelight.checkpoints import BUNDLED
from safelight.engine import openvino
from safelight.engine.families.family import Row
from safelight.engine.generation import Generation
from safelight.engine.model import Model


def main() -> None:
    options = parse()
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    options.out.mkdir(parents=True, exist_ok=True)
    if not torch.cuda.is_available():
        print("This torch sees no GPU, so this measures the CPU. benchmarks/README.md has the commands for a GPU.")
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = options.checkpoint or bundled_or_random(options, Path(scratch) / "checkpoint", dtype)
        side = options.side or architectures.native_side(checkpoint) or architectures.SIDES[options.architecture]
        makers = choose(options, peers(checkpoint, device, dtype, Path(scratch) / "rows.json", options.max_rows))
        results = describe(options, checkpoint, device) | {"side": side}
        asked = partial(workload.requests, side=side, flows=options.architecture in architectures.FLOWS)
        results["equality"] = equality(makers, shortest(asked, options))
        generations = asked(options.requests, seed=options.seed, steps_share=options.steps_share)
        results["floor"] = floor(Model.load(checkpoint, device=device, dtype=dtype), generations, options.peak_tflops)
        results["pictures"] = sum(generation.samples for generation in generations)
        results["saturation"] = {name: saturate(make, generations) for name, make in makers.items()}
        results["loads"] = under_load(makers, generations, results["saturation"], options)
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    print(table(results))
    plots.draw(results, options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a diffusers folder; default: the bundled one")
    parser.add_argument("--architecture", choices=architectures.SIDES, default="small", help="random weights of a size")
    parser.add_argument("--depth", type=int, help="layers of each kind that random weights have at most; default: all")
    parser.add_argument("--narrow", type=int, default=1, help="what the widths of random weights are divided by")
    parser.add_argument("--side", type=int, help="of the pictures, in pixels; default: what the checkpoint draws best")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--steps-share", type=float, default=1.0, help="shortens every request alike")
    parser.add_argument(
        "--loads", type=lambda text: [float(x) for x in text.split(",") if x], default=[0.3, 0.6, 0.9, 1.1]
    )
    parser.add_argument(
        "--peers", default="ours,fast,alone,torch,a,b,c,d", help="a, b, c, d, ours, fast, alone, torch, eager"
    )
    parser.add_argument("--latency-peers", help="those of --peers that are measured under load; default: all")
    parser.add_argument(
        "--max-rows", type=int, help="of the engine's calls, instead of timing how many are worth having"
    )
    parser.add_argument("--peak-tflops", type=float, help="of the device; with it the fraction of the floor is drawn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("run/bench"))
    return parser.parse_args()


def bundled_or_random(options: argparse.Namespace, folder: Path, dtype: torch.dtype) -> Path:
    if options.architecture == "small" and (BUNDLED / "model_index.json").exists():
        return BUNDLED
    size = architectures.Size(options.depth, options.narrow)
    print(f"Random weights of {options.architecture!r}, {size}: speed only, the pictures mean nothing.")
    return architectures.write(options.architecture, folder, dtype, size, torch.device(options.device))


def choose(options: argparse.Namespace, every: dict[str, Make]) -> dict[str, Make]:
    chosen = {name: every[name] for name in options.peers.split(",")}
    if not (options.device == "cpu" and openvino.installed()):
        for name in ("torch", "d"):
            if chosen.pop(name, None):
                print(
                    f"{name!r} is left out: it compares with OpenVINO, which is for CPUs and not installed here or no use."
                )
    if "c" in chosen and not can_compile():
        print("Peer c (compiled diffusers) is left out: torch.compile does not work on this machine.")
        del chosen["c"]
    return chosen


def describe(options: argparse.Namespace, checkpoint: Path, device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "waiting": os.environ.get("OMP_WAIT_POLICY", "default"),  # how OpenMP's threads wait for each other
        "torch": torch.__version__,
        "checkpoint": "bundled" if checkpoint == BUNDLED else (options.checkpoint or options.architecture).__str__(),
        "requests": options.requests,
        "steps_share": options.steps_share,
        "size": str(architectures.Size(options.depth, options.narrow)),
        "load_average": os.getloadavg()[0],
        "seed": options.seed,
    }


def shortest(asked: Callable[..., list[Generation]], options: argparse.Namespace) -> list[Generation]:
    """Four requests of one picture and few steps. diffusers' inpainting pipeline of Stable Diffusion 3 forgets a shift
    that its siblings add, so it is no measure.
    """
    few = [replace(g, samples=1) for g in asked(4, seed=99, steps_share=min(options.steps_share, 0.4))]
    return [replace(g, mask_image=None) for g in few] if options.architecture == "sd35" else few


def equality(makers: Mapping[str, Make], asked: Sequence[Generation]) -> dict[str, float]:
    """Speed counts only for the same picture: the largest difference to peer (a), in levels of 255, after a few steps."""
    made: dict[str, list[np.ndarray]] = {}
    for name in ("a", "ours"):
        if name not in makers:
            continue
        peer = makers[name]()
        made[name] = [_first_picture(peer.submit(generation)) for generation in asked]
        peer.close()
    if len(made) < 2:
        return {}
    pairs = zip(made["a"], made["ours"], strict=True)
    differences = [np.abs(ours.astype(int) - theirs.astype(int)) for theirs, ours in pairs]
    return {
        "largest": float(max(d.max() for d in differences)),
        "mean": float(np.mean([d.mean() for d in differences])),
    }


def _first_picture(future: Future[Any]) -> np.ndarray:
    result = future.result()
    return np.asarray(result[0] if isinstance(result, list) else result.pictures[0].pixels)


def saturate(make: Make, generations: Sequence[Generation]) -> dict[str, Any]:
    """Everything is there at once: pictures a second, and where the time went."""
    peer = make()
    warm(peer, generations)
    before = asdict(peer.engine.load().timings) if isinstance(peer, Ours) else {}
    began, busy = time.perf_counter(), time.process_time()
    wait_all([peer.submit(generation) for generation in generations])
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    pictures = sum(generation.samples for generation in generations)
    result = {
        "name": peer.name,
        "seconds": seconds,
        "pictures_per_second": pictures / seconds,
        "cpu_seconds_per_picture": busy / pictures,  # of all threads; steadier than the clock on a busy machine
        "requests_per_second": len(generations) / seconds,
        "breakdown": breakdown(peer, before),
    }
    peer.close()
    print(f"  saturation  {peer.name:34} {result['pictures_per_second']:7.2f} pictures/s", flush=True)
    return result


def warm(peer: Peer, generations: Sequence[Generation]) -> None:
    """A short request of every size, so that probes and allocators are done; for a compiler, of every batch and kind."""
    compiled = isinstance(peer, Compiled)
    shapes = {
        (
            g.width,
            g.height,
            compiled and (g.samples, g.guidance_scale > 1, g.init_image is None, g.mask_image is None),
        ): g
        for g in generations
    }
    wait_all([peer.submit(replace(g, steps=4, samples=g.samples if compiled else 1)) for g in shapes.values()])


def wait_all(futures: Sequence[Future[Any]]) -> None:
    wait(futures)
    for future in futures:
        future.result()


def breakdown(peer: Peer, before: dict[str, Any]) -> dict[str, float]:
    if not isinstance(peer, Ours):
        return {}
    after = asdict(peer.engine.load().timings)
    return {part: after[part] - before[part] for part in after}


def under_load(
    makers: dict[str, Make], generations: Sequence[Generation], saturation: dict[str, Any], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Latency at shares of peer (a)'s capacity; peers take turns at each load, so that a busy machine hurts all alike."""
    reference = saturation.get("a") or next(iter(saturation.values()))
    loads: dict[str, dict[str, Any]] = {}
    measured = (options.latency_peers or options.peers).split(",")
    makers = {name: make for name, make in makers.items() if name in measured}
    for load in options.loads:
        timed = workload.arrivals(generations, load * reference["requests_per_second"], options.seed + 1)
        loads[str(load)] = {name: open_loop(make, timed, load) for name, make in makers.items()}
    return loads


def open_loop(make: Make, timed: Sequence[Arrival], load: float) -> dict[str, float]:
    """Latency counts from the scheduled arrival, so that nothing is hidden when a peer falls behind."""
    peer = make()
    warm(peer, [arrival.generation for arrival in timed])
    latencies: list[float] = []
    lock, began, futures = threading.Lock(), time.perf_counter(), []
    for arrival in timed:
        time.sleep(max(0.0, began + arrival.at - time.perf_counter()))

        def note(_: Future[Any], due: float = began + arrival.at) -> None:
            with lock:
                latencies.append(time.perf_counter() - due)

        futures.append(peer.submit(arrival.generation))
        futures[-1].add_done_callback(note)
    wait_all(futures)
    seconds = time.perf_counter() - began
    peer.close()
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    print(f"  load {load:4.1f}   {peer.name:34} p50 {p50:7.2f} s   p95 {p95:7.2f} s", flush=True)
    return {"p50": p50, "p95": p95, "p99": p99, "mean": float(np.mean(latencies)), "seconds": seconds}


def floor(model: Model, generations: Sequence[Generation], peak_tflops: float | None) -> dict[str, float]:
    """Arithmetic that the workload cannot do without, and with the device's peak, the seconds it must take."""
    side = min(g.width for g in generations)
    x = torch.zeros(model.family.shape(side, side), device=model.device)
    row = Row(x, 500.0, model.encode_text([""])[0])
    unet = count_flops(lambda: model.denoise([row]))
    decode = count_flops(lambda: model.decode(x[None]))
    encode = count_flops(lambda: model.encode_image(torch.zeros(1, 3, side, side, device=model.device)))
    total = 0.0
    for g in generations:
        area = g.width * g.height / side**2 if model.native_size is None else 1.0
        calls = g.steps if g.init_image is None else max(1, int(g.steps * g.strength))
        drawn = g.samples * (calls * unet * (2 if model.family.guided(g) else 1) + decode)
        total += area * (drawn + (encode if g.init_image is not None else 0.0))
    found = {"unet_row": unet, "decode": decode, "encode": encode, "workload": total}
    return found | ({"seconds": total / (peak_tflops * 1e12)} if peak_tflops else {})


def count_flops(call: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def table(results: dict[str, Any]) -> str:
    """What a reader wants first, as Markdown."""
    saturation, loads = results["saturation"], results["loads"]
    base = saturation.get("a", {}).get("pictures_per_second")
    lines = ["| | pictures/s | to (a) | CPU s/picture | " + " | ".join(f"p50 / p95 at {load}" for load in loads) + " |"]
    lines.append("|---" * (4 + len(loads)) + "|")
    for name, row in saturation.items():
        rate = row["pictures_per_second"]
        ratio = f"{rate / base:.2f}x" if base else ""
        spans = [
            f"{loads[load][name]['p50']:.2f} / {loads[load][name]['p95']:.2f} s" if name in loads[load] else ""
            for load in loads
        ]
        lines.append(
            f"| {row['name']} | {rate:.2f} | {ratio} | {row['cpu_seconds_per_picture']:.2f} | "
            + " | ".join(spans)
            + " |"
        )
    for row in saturation.values():
        if parts := row["breakdown"]:
            spent = {part: parts[part] for part in ("text", "vae", "unet", "rest")}
            shares = ", ".join(f"{part} {share / sum(spent.values()):.1%}" for part, share in spent.items())
            filled = parts["rows"] / max(1, parts["padded_rows"])
            width = parts["padded_rows"] / max(1, parts["ticks"])
            lines.append(f"\n{row['name']}: {shares}; {width:.1f} rows a call, {filled:.0%} of them asked for")
    if results["equality"]:
        lines.append(f"\nEqual to (a) within {results['equality']['largest']:.0f} of 255 levels.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
