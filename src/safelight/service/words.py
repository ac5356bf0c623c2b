"""What the words of a prompt ask for, by two short lists: a first look and no more. It knows no context, no other language and
no misspelling; whoever must be sure looks at the picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNSAFE = frozenset(
    re.findall(
        r"\w+",
        "breast breasts erotic erotica explicit fetish genital genitals hentai lewd lingerie naked nipple nipples nsfw "
        "nude nudes nudity orgasm penis porn pornographic pornography sex sexual sexy topless underwear undressed "
        "vagina ",
    )
)
MINORS = frozenset(
    re.findall(
        r"\w+",
        "baby boy boys child children girl girls infant juvenile kid kids loli lolita minor minors preteen schoolboy "
        "schoolgirl shota teen teenage teenager teenagers teens toddler underage ",
    )
)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Verdict:
    """``minors`` only together with what is not safe; ``filtered`` is the prompt without the unsafe words."""

    nsfw: bool
    minors: bool
    filtered: str


def judge_prompt(prompt: str) -> Verdict:
    said = {word.lower() for word in _WORD.findall(prompt)}
    nsfw = bool(said & UNSAFE)
    filtered = _WORD.sub(lambda word: "" if word[0].lower() in UNSAFE else word[0], prompt) if nsfw else prompt
    return Verdict(nsfw, nsfw and bool(said & MINORS), " ".join(filtered.split()) if nsfw else prompt)
