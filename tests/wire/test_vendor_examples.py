"""Every example that the vendors print, played to a running server: our answer has the keys, types and fixed words of theirs.

What differs stands in ``vendor_examples/differences.json`` with its reason, and a reason that nothing needs any more fails here.
``UPDATE_DOCS=1`` writes the numbers of the run into the page that tells them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from safelight.records import Operation, Wants
from tests import engines

from .examples import Difference, Example, allowances, examples, named_paths
from .replay import Played, Replay
from .site import Site

PAGE = Path(__file__).parents[2] / "docs/reference/vendor-examples.md"
SOURCES = sorted({example.source for example in examples()})
OUTCOMES = ("as printed", "with more fields", "differ", "501", "no such endpoint")


@pytest.fixture(scope="module")
def replay(site: Site) -> Iterator[Replay]:
    """With a painter that takes no time: what the pictures show is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            engines, "paint", lambda generation, _: np.zeros((generation.height, generation.width, 3), np.uint8)
        )
        able = {each.value: Wants(only=each) for each in (Operation.pix2pix, Operation.depth2img)}
        patch.setattr(site.services.catalogue, "_wants", able | {"edit": Wants(pictures=4)})
        yield Replay(site)


@pytest.fixture(scope="module")
def played(replay: Replay) -> list[Played]:
    return replay.play_all(examples())


@pytest.fixture(scope="module")
def swept(replay: Replay) -> list[Difference]:
    return replay.sweep(named_paths())


@pytest.mark.parametrize("source", SOURCES)
def test_no_answer_differs_without_a_reason(played: list[Played], source: str) -> None:
    found = [difference for one in played if one.example.source == source for difference in one.differences]
    assert [difference for difference in found if not reason(difference)] == []


def test_no_path_leads_nowhere_without_a_reason(swept: list[Difference]) -> None:
    assert [difference for difference in swept if not reason(difference)] == []


def test_every_reason_is_needed(played: list[Played], swept: list[Difference]) -> None:
    found = [*swept, *(difference for one in played for difference in one.differences)]
    assert [allowed for allowed in allowances() if not any(map(allowed.covers, found))] == []


def test_the_page_tells_the_numbers_of_this_run(played: list[Played]) -> None:
    before, _, rest = PAGE.read_text().partition("<!-- numbers -->\n")
    _, _, after = rest.partition("<!-- end of numbers -->")
    now = f"{before}<!-- numbers -->\n{numbers(played)}<!-- end of numbers -->{after}"
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(now)
    assert PAGE.read_text() == now


def reason(difference: Difference) -> str:
    return next((allowed.reason for allowed in allowances() if allowed.covers(difference)), "")


def numbers(played: list[Played]) -> str:
    of_example: dict[Example, list[Difference]] = {example: [] for example in examples()}
    for one in played:
        of_example[one.example] += one.differences
    return "\n".join([*_by_year(of_example), "", *_by_reason(of_example), ""])


def _by_year(of_example: dict[Example, list[Difference]]) -> Iterator[str]:
    yield f"| pages | examples | {' | '.join(OUTCOMES)} |"
    yield "|---" * (len(OUTCOMES) + 2) + "|"
    for year, mine in groupby(of_example.items(), lambda item: item[0].source.partition("/")[0]):
        counted = Counter(outcome(differences) for _, differences in mine)
        yield f"| {year} | {counted.total()} | {' | '.join(str(counted[name]) for name in OUTCOMES)} |"
    all_of_them = Counter(map(outcome, of_example.values()))
    yield f"| all | {all_of_them.total()} | {' | '.join(str(all_of_them[name]) for name in OUTCOMES)} |"


def _by_reason(of_example: dict[Example, list[Difference]]) -> Iterator[str]:
    touched = Counter(told for differences in of_example.values() for told in set(map(reason, differences)))
    yield "| examples | why they differ |"
    yield "|---|---|"
    for told, count in sorted(touched.items(), key=lambda item: (-item[1], item[0])):
        yield f"| {count} | {told} |"


def outcome(differences: list[Difference]) -> str:
    if any(one.is_ == "404 No such endpoint" for one in differences):
        return "no such endpoint"
    if any(one.is_.startswith("501") for one in differences):
        return "501"
    if all(one.is_ == "extra" for one in differences):
        return "with more fields" if differences else "as printed"
    return "differ"
