"""A checkpoint in diffusers' layout, fetched by the address of its model_index.json: which files that implies, each from beside it.

Every name is of a list of ours, so that no name of a stranger's becomes a path. What is in the files is for others to judge.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from safelight.errors import Unfetchable
from safelight.service.download import Download, Missing
from safelight.service.nameless import Nameless
from safelight.service.outbound import Outbound, megabytes, sentences

INDEX = "model_index.json"
MOST_SMALL = 32 * 2**20  # bytes of a file that holds no weights; the vocabularies of language models take half of it
MOST_SHARDS = 200
READERS = ("tokenizer", "tokenizer_2", "tokenizer_3", "processor", "feature_extractor")
NETWORKS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3", "depth_estimator")
READ_WITH = (
    "tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json",
    "preprocessor_config.json", "video_preprocessor_config.json",
)  # fmt: skip
STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}  # of weights, by the library that wrote them
_SHARD = re.compile(r"(?P<stem>.*)-\d{5}-of-\d{5}\.safetensors")

Note = Callable[[int, int], None]


def is_index(address: str) -> bool:
    return urlsplit(address).path.endswith(f"/{INDEX}")


def beside(address: str, name: str) -> str:
    """The address of another file of the folder: what comes after the path, as a token may, belongs to each."""
    parts = urlsplit(address)
    return parts._replace(path=parts.path.removesuffix(INDEX) + name, fragment="").geturl()


class Folder:
    """``limit`` is of all bytes together; ``note`` is told how many of how many parts are here."""

    def __init__(self, outbound: Outbound, address: str, into: Nameless, field: str, limit: int, note: Note) -> None:
        self._outbound, self._address, self._into, self._field = outbound, address, into, field
        self._limit, self._note = limit, note

    async def run(self, seconds: float) -> None:
        """Raises Unfetchable with a sentence for the caller."""
        with sentences(self._field):
            async with asyncio.timeout(seconds):
                await self._run(seconds)

    async def _run(self, seconds: float) -> None:
        index = await self._json(INDEX, seconds)
        parts = [name for name, entry in index.items() if isinstance(entry, list) and len(entry) == 2 and entry[1]]
        for done, name in enumerate(parts):
            self._note(done, len(parts))
            if name == "scheduler":
                await self._fetch(f"{name}/scheduler_config.json", seconds, MOST_SMALL)
            elif name in READERS:
                for each in READ_WITH:
                    await self._if_there(f"{name}/{each}", seconds)
            elif name in NETWORKS:
                await self._network(name, STEMS.get(str(index[name][0]), ""), seconds)

    async def _network(self, name: str, stem: str, seconds: float) -> None:
        """In shards where an index lists them, or as one file, else in half precision."""
        await self._fetch(f"{name}/config.json", seconds, MOST_SMALL)
        if listed := await self._if_there(f"{name}/{stem}.safetensors.index.json", seconds):
            for shard in self._shards(self._read(listed), stem):
                await self._fetch(f"{name}/{shard}", seconds, self._limit)
        elif not await self._if_there(f"{name}/{stem}.safetensors", seconds, self._limit):
            await self._fetch(f"{name}/{stem}.fp16.safetensors", seconds, self._limit)

    def _shards(self, index: Mapping[str, Any], stem: str) -> list[str]:
        listed = index.get("weight_map")
        names = sorted({str(name) for name in listed.values()}) if isinstance(listed, dict) else []
        if not 0 < len(names) <= MOST_SHARDS:
            raise self._refusal(f"lists no shards, or more than {MOST_SHARDS}")
        for name in names:
            if (found := _SHARD.fullmatch(name)) is None or found["stem"] != stem:
                raise self._refusal("lists shards by other names than diffusers gives them")
        return names

    async def _json(self, name: str, seconds: float) -> Mapping[str, Any]:
        await self._fetch(name, seconds, MOST_SMALL)
        return self._read(name)

    def _read(self, name: str) -> Mapping[str, Any]:
        file = self._into.files[name]
        file.seek(0)
        try:
            found = json.load(file)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._refusal(f"has no JSON object in {name}")
        return found

    async def _if_there(self, name: str, seconds: float, limit: int = MOST_SMALL) -> str:
        """The name again, or nothing."""
        try:
            await self._fetch(name, seconds, limit)
        except Missing:
            self._into.drop(name)
            return ""
        return name

    async def _fetch(self, name: str, seconds: float, limit: int) -> None:
        before = sum(self._into.sizes.values())

        def check(done: int, whole: int) -> None:
            if before + max(done, whole) > self._limit:
                raise Unfetchable(self._field, f"makes it larger than {megabytes(self._limit)} MB")

        address, file = beside(self._address, name), self._into.add(name)
        try:
            await Download(self._outbound, address, file, self._field, limit, check).run(seconds)
        except Unfetchable as error:
            raise type(error)(self._field, f"leads to a folder whose {name} {error.rule}") from error

    def _refusal(self, why: str) -> Unfetchable:
        return Unfetchable(self._field, f"leads to a folder that {why}")
