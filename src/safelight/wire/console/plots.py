"""A row of bars as a template draws it in SVG: where each stands, how high it is, and what it says. Knows no numbers' meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600.0, 120.0
GAP = 0.22  # of a bar's place


@dataclass(frozen=True, slots=True)
class Bar:
    """In the units of the drawing, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    says: str


@dataclass(frozen=True, slots=True)
class Plot:
    """``first`` and ``last`` stand under the ends of it, ``most`` beside its top."""

    title: str
    bars: tuple[Bar, ...]
    most: str
    first: str
    last: str
    sum: str


def plot(title: str, values: Sequence[tuple[str, float]], unit: str, total: str = "") -> Plot:
    """Each value with the moment that it is of; the highest reaches the top."""
    most = max((value for _, value in values), default=0.0)
    place = WIDTH / max(1, len(values))
    bars = [
        _bar(number, place, value / most if most else 0.0, f"{when}: {value:.4g} {unit}")
        for number, (when, value) in enumerate(values)
    ]
    ends = (values[0][0], values[-1][0]) if values else ("", "")
    return Plot(title, tuple(bars), f"{most:.4g} {unit}", *ends, total)


def _bar(number: int, place: float, share: float, says: str) -> Bar:
    """What is nothing is a line, so that its place can be seen."""
    height = max(1.0, share * HEIGHT)
    return Bar(round(number * place, 2), round(HEIGHT - height, 2), round(place * (1 - GAP), 2), round(height, 2), says)
