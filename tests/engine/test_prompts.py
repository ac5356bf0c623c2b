"""Prompt enhancement adds what is missing, once, at the end."""

from __future__ import annotations

import pytest

from safelight.engine.prompts import STYLES, default_negative, enhance
from safelight.errors import Invalid


def test_quality_words_are_appended() -> None:
    assert enhance("a cat on a bench") == "a cat on a bench, highly detailed, sharp focus"


def test_what_the_prompt_says_already_is_not_said_twice() -> None:
    assert enhance("Highly Detailed cat,") == "Highly Detailed cat, sharp focus"


@pytest.mark.parametrize("style", STYLES)
def test_enhancing_twice_is_enhancing_once(style: str) -> None:
    once = enhance("a cat", style)
    assert once.startswith(f"a cat, {STYLES[style][0]}")
    assert enhance(once, style) == once


def test_a_long_prompt_is_left_alone() -> None:
    prompt = "cat " * 61
    assert enhance(prompt) == prompt.strip()


def test_an_unknown_style_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Invalid, match="enhance_style must be one of: anime, cinematic"):
        enhance("a cat", "vaporwave")


def test_negative_words_are_added_only_when_asked_for() -> None:
    assert default_negative().startswith("lowres, blurry")
    assert default_negative("blurry dogs").startswith("blurry dogs, lowres, jpeg")
