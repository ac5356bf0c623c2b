"""Draws what a benchmark found: throughput, latency against load, where the time went, and the floor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt  # after the choice of a backend that needs no screen

COLOURS = {
    "ours": "#0b6e4f",
    "fast": "#3fa34d",
    "alone": "#a1c181",
    "eager": "#7fb7be",
    "torch": "#7fb7be",
    "inline": "#b5c99a",
    "a": "#6c757d",
    "b": "#c8553d",
    "c": "#e09f3e",
    "d": "#8e6c8a",
}
PARTS = {"unet": "#0b6e4f", "vae": "#3fa34d", "text": "#a1c181", "rest": "#c8553d"}


def draw(results: dict[str, Any], folder: Path) -> None:
    throughput(results, folder / "throughput.png")
    if results["loads"]:
        latency(results, folder / "latency.png")
    breakdown(results, folder / "breakdown.png")


def throughput(results: dict[str, Any], path: Path) -> None:
    """Pictures a second at saturation; with a known peak, also the fraction of the floor."""
    rows = results["saturation"]
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(rows) + 1.4), layout="constrained")
    rates = [row["pictures_per_second"] for row in rows.values()]
    bars = axes.barh([row["name"] for row in rows.values()], rates, color=[COLOURS[name] for name in rows])
    base, floor = rows.get("a", {}).get("pictures_per_second"), results["floor"].get("seconds")
    labels = [f"{rate:.2f}" + (f"  ({rate / base:.2f}x)" if base else "") for rate in rates]
    if floor:
        shares = [floor / row["seconds"] for row in rows.values()]
        labels = [f"{label}  {share:.0%} of the floor" for label, share in zip(labels, shares, strict=True)]
    axes.bar_label(bars, labels, padding=4)
    axes.set(xlabel="pictures a second, everything waiting at once", xlim=(0, max(rates) * 1.35))
    axes.invert_yaxis()
    _save(figure, axes, f"Throughput at saturation ({_where(results)})", path)


def latency(results: dict[str, Any], path: Path) -> None:
    """p50 and p95 from the scheduled arrival, against the load."""
    loads = results["loads"]
    figure, both = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharex=True)
    for axes, percentile in zip(both, ("p50", "p95"), strict=True):
        for name in next(iter(loads.values())):
            values = [loads[load][name][percentile] for load in loads]
            label = results["saturation"][name]["name"]
            axes.plot([float(load) for load in loads], values, "o-", color=COLOURS[name], label=label)
        axes.set(xlabel="load, as a share of the capacity of (a)", ylabel="seconds", title=percentile, yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.grid(alpha=0.3, which="both")
    both[0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"Latency from the scheduled arrival ({_where(results)})")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def breakdown(results: dict[str, Any], path: Path) -> None:
    """Where the engine's time went at saturation."""
    rows = {name: row for name, row in results["saturation"].items() if row["breakdown"]}
    if not rows:
        return
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(rows) + 1.6), layout="constrained")
    left = [0.0] * len(rows)
    for part, colour in PARTS.items():
        seconds = [row["breakdown"][part] / row["seconds"] for row in rows.values()]
        bars = axes.barh([row["name"] for row in rows.values()], seconds, left=left, color=colour, label=part)
        axes.bar_label(
            bars, [f"{share:.0%}" if share > 0.03 else "" for share in seconds], label_type="center", color="white"
        )
        left = [start + width for start, width in zip(left, seconds, strict=True)]
    axes.set(xlabel="share of the wall clock at saturation", xlim=(0, 1))
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    _save(figure, axes, f"Where the engine's time goes ({_where(results)})", path)


def forgetting(milliseconds: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """How long each thing takes with so many requests kept, p95, on a scale that shows small and large ones."""
    parts, kept = list(milliseconds), list(next(iter(milliseconds.values())))
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(parts) + 1.4), layout="constrained")
    thick = 0.8 / len(kept)
    for number, (many, colour) in enumerate(zip(kept, (COLOURS["a"], COLOURS["ours"], COLOURS["b"]), strict=False)):
        places = [each + (number - (len(kept) - 1) / 2) * thick for each in range(len(parts))]
        values = [milliseconds[part][many]["p95"] for part in parts]
        bars = axes.barh(places, values, thick, color=colour, label=f"{many} requests kept")
        axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3, fontsize=7)
    axes.set(
        xlabel="milliseconds, p95 (of a single one where only one was made)",
        xscale="log",
        xlim=(1, None),
        yticks=range(len(parts)),
    )
    axes.set_yticklabels(parts)
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8)
    _save(figure, axes, "What forgetting costs", path)


def _where(results: dict[str, Any]) -> str:
    return f"{results['device']}, {results['checkpoint']} checkpoint, {results['side']} px"


def _save(figure: Any, axes: Any, title: str, path: Path) -> None:
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":  # draw again from a folder that holds results.json
    draw(json.loads((Path(sys.argv[1]) / "results.json").read_text()), Path(sys.argv[1]))
