"""What a prompt of the web UI says beside its words: ``<lora:name:0.8>``. Weights such as ``(word:1.2)`` stay for the encoder."""

from __future__ import annotations

import re
from collections.abc import Collection

from safelight.errors import Invalid

MOST_STRENGTH = 4.0
_TAG = re.compile(r"<(lora|lyco|hypernet):([^:<>]{1,200})(?::([^:<>]{1,20}))?(?::[^<>]{0,200})?>")
_NUMBER = re.compile(r"-?(\d{1,3}(\.\d{0,9})?|\.\d{1,9})")


def read_prompt(prompt: str, known: Collection[str]) -> tuple[str, tuple[tuple[str, float], ...]]:
    """The prompt without its tags, and the LoRAs that they name, each with its strength."""
    loras = tuple(_lora(tag, known) for tag in _TAG.finditer(prompt))
    return " ".join(_TAG.sub(" ", prompt).split()) if loras else prompt, loras


def _lora(tag: re.Match[str], known: Collection[str]) -> tuple[str, float]:
    kind, name, strength = tag[1], tag[2].strip(), tag[3] or "1"
    if kind == "hypernet":
        raise Invalid("prompt", f"names the hypernetwork {name}; this server has none")
    if name not in known:
        raise Invalid("prompt", f"names the LoRA {name}, which this server does not have. It has: {_listed(known)}")
    if not _NUMBER.fullmatch(strength) or abs(float(strength)) > MOST_STRENGTH:
        raise Invalid("prompt", f"gives the LoRA {name} a strength that is no number of at most {MOST_STRENGTH:g}")
    return name, float(strength)


def _listed(known: Collection[str]) -> str:
    return ", ".join(sorted(known)) or "none"
