"""Prompt enhancement: a few words that models answer well to, added where the writer has not said as much. Pure and offline."""

from __future__ import annotations

import re

QUALITY = ("highly detailed", "sharp focus")
SAYS_ENOUGH = 40  # words; a prompt this long is left alone


def enhance(prompt: str) -> str:
    """The prompt that is really used: the writer's words first and unchanged, then what of ``QUALITY`` they lack."""
    if len(prompt.split()) >= SAYS_ENOUGH:
        return prompt
    said = set(re.findall(r"\w+", prompt.lower()))
    missing = [words for words in QUALITY if not said & set(words.split())]
    return ", ".join([prompt.rstrip(" ,."), *missing]) if missing else prompt
