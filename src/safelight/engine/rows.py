"""How many rows a call may hold, per device, checkpoint and size: tried out once, then remembered in a file.

The most is timed: more rows are worth having while they give more of them a second. In exact mode the other row counts
are those at which the model gives the very same bits; both answers are part of the promise, so they are kept.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from safelight.engine.controlnet import steered
from safelight.engine.families.family import Conditioning, Row
from safelight.engine.graphs import Graphs
from safelight.engine.plan import Plan
from safelight.engine.remembered import Remembered

log = logging.getLogger(__name__)

LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # row counts ever used below the cap, so that few shapes are seen
RUNGS = (2, 4, 8, 16, 32)  # that may be a cap; a guided picture is two rows
WORTH = 1.1  # twice the rows must give this much more of them a second
PATIENCE = 20.0  # seconds of timing after which the best so far is taken
REPEATS = 4
LONE = 4  # rows that a single guided picture may cost in exact mode, where a cap of at least FEWEST rows allows it
FEWEST = 8
COMPANIES = 3  # random choices of rows that a row count must give the same bits for


class Rows:
    """The row counts of each bucket. ``limit`` is a fixed cap; ``path`` is where answers are remembered."""

    def __init__(self, graphs: Graphs, limit: int | None = None, path: Path | None = None, *, exact: bool) -> None:
        self._graphs = graphs
        self._limit = limit
        self._memory = Remembered(path)
        self._exact = exact

    def widths(self, plan: Plan) -> tuple[int, ...]:
        """Ascending; the last is the cap."""
        shape = f"{device_name(plan.model.device)} | {plan.model.runtime} | {plan.model.name}"
        shape += f" | {plan.model.dtype} | {plan.bucket.company}"
        shape += " | with ControlNet" if plan.bucket.steered else ""
        eager = " | with LoRA" if plan.bucket.loras else ""  # which graphs and compiled networks leave to torch
        fastest = self._limit or self._memory.recall(
            f"cap | {shape}{eager}", lambda: probe(Trial(plan, self._graphs, RUNGS[-1]).seconds)
        )
        if not self._exact:
            return (*(rows for rows in LADDER if rows < fastest), fastest)
        loras = "".join(f" | {lora.name}" for lora in plan.bucket.loras)

        def same(cap: int) -> list[int]:
            name = f"same as {cap} | {shape}{loras}"
            found: list[int] = self._memory.recall(name, lambda: equals(Trial(plan, self._graphs, cap).rows, cap))
            return found

        narrower = [] if self._limit else [cap for cap in reversed(RUNGS) if FEWEST <= cap < fastest]
        return tuple(next((same(cap) for cap in (fastest, *narrower) if _spares_the_lone(same(cap))), same(fastest)))


class Trial:
    """Calls of a plan's model on ``count`` random rows, no two alike."""

    def __init__(self, plan: Plan, graphs: Graphs, count: int) -> None:
        self._plan = plan
        self._graphs = graphs
        dice, model = torch.Generator().manual_seed(0), plan.model
        channels, *sides = plan.view
        extra = model.family.extra_channels
        x = torch.randn(count, channels + extra, *sides, generator=dice).to(model.device)
        times = torch.rand(count, generator=dice).mul(1000).floor().tolist()
        prompts = model.family.trial_prompts(plan.generation)
        said = model.encode_text(prompts, 1, plan.generation.loras, plan.shown, plan.pieces)
        model.rest()
        longest = max(said, key=lambda text: len(text.embedding))
        texts = [vary(longest, dice) for _ in range(count)]
        shown = tuple(torch.randn(shape, generator=dice).to(model.device) for shape in plan.references)
        rows = [
            Row(row[:channels], time, text, row[channels:] if extra else None, references=shown)
            for row, time, text in zip(x, times, texts, strict=True)
        ]
        self._rows = steered(model.family, rows, plan.cues) if plan.bucket.steered else rows

    def rows(self, order: list[int]) -> Tensor:
        """What the model says of these rows, called together."""
        return torch.stack(self._graphs.denoise(self._plan, [self._rows[i] for i in order]))

    def seconds(self, rows: int) -> float:
        """Of one call. Out of memory takes for ever."""
        began = time.perf_counter()
        try:
            self.rows(list(range(rows))).sum().item()
        except torch.OutOfMemoryError:
            return float("inf")
        return time.perf_counter() - began


def vary(text: Conditioning, dice: torch.Generator) -> Conditioning:
    """As if another prompt had been read."""
    noise = torch.randn(text.embedding.shape, generator=dice)
    return replace(text, embedding=text.embedding + noise.to(text.embedding))


def _spares_the_lone(widths: list[int]) -> bool:
    return min(rows for rows in widths if rows > 1 or rows == widths[-1]) <= LONE


def probe(seconds: Callable[[int], float]) -> int:
    """Up the rungs until one is no longer worth it. The two in question take turns, so that noise hurts both alike."""
    best, spent = RUNGS[0], seconds(RUNGS[0])  # which does not count, but for patience
    for rows in RUNGS[1:]:
        if spent > PATIENCE:
            return best
        spent += seconds(rows)  # nor does this
        pairs = [(seconds(best), seconds(rows)) for _ in range(REPEATS)]
        spent += sum(map(sum, pairs))
        fewer, more = (min(times) for times in zip(*pairs, strict=True))
        if rows / more < WORTH * best / fewer:
            return best
        best = rows
    return best


def equals(call: Callable[[list[int]], Tensor], cap: int) -> list[int]:
    """The row counts at which every row has the bits that it has at ``cap``, whatever its place and company."""
    truth, dice = call(list(range(cap))), torch.Generator().manual_seed(0)

    def holds(rows: int) -> bool:
        companies = (torch.randint(cap, (rows,), generator=dice).tolist() for _ in range(COMPANIES))
        return all(torch.equal(call(company), truth[company]) for company in companies)

    if not holds(cap):
        log.warning("on this device a row's bits depend on its neighbours: exact mode cannot keep its promise here")
        return [cap]
    return [rows for rows in LADDER if rows < cap and holds(rows)] + [cap]


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()} threads"
