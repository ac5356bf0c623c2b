"""What requests may name: the checkpoints of this server and what goes with them, and what stands for a name that it does not have.

Knows names alone; whether a checkpoint can be loaded is the worker's to find out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import translate
from pathlib import Path
from types import MappingProxyType

from safelight.errors import Invalid, NotFound
from safelight.records import FURTHER, Account, JobState, Operation, Wants
from safelight.service.additions import wants_of
from safelight.service.models import Installed, installed_of
from safelight.settings import Settings
from safelight.storage.database import Database

DEFAULT = "default"
MOST_PICTURES = 1 + len(FURTHER)  # of a request
USUAL = Wants()
SEVERAL = "must name {} of this server, separated by commas"


@dataclass(frozen=True, slots=True)
class Choice:
    """A checkpoint, None for the default one, and a sentence for the caller where that is not what was asked for."""

    model: str | None = None
    note: str = ""
    wants: Wants = USUAL  # where the caller leaves a field out
    installed: int | None = None  # the job that installed it, where one did


DEFAULT_CHECKPOINT = Choice()


@dataclass(frozen=True, slots=True)
class Entry:
    """Something on offer. ``kind`` is checkpoint, lora, controlnet, embedding or vae; ``added_at`` is its file's, where this process
    sees the file.

    ``installed`` is of those that a job brought or is to bring: how far it is, and what it failed by.
    """

    name: str
    kind: str
    added_at: datetime | None
    default: bool = False
    installed: Installed | None = None

    @property
    def ready(self) -> bool:
        return self.installed is None or self.installed.state is JobState.succeeded


class Catalogue:
    """Aliases given by command come before those of the settings; of each the first pattern that fits counts."""

    def __init__(
        self, settings: Settings, database: Database, wants: Mapping[str, Wants] = MappingProxyType({})
    ) -> None:
        self._settings, self._database, self._wants = settings, database, wants

    async def checkpoint(self, name: str, account: Account | None = None) -> Choice:
        """With what its card wants. Raises NotFound for a name that nothing stands for, where the settings want that.

        The operator's checkpoints come before those that ``account`` may use because somebody installed them.
        """
        own = await self._own(name)
        if own is None and account is not None and (job_id := (await self._installed(account, "checkpoint")).get(name)):
            return Choice(name, installed=job_id)
        return own or await self._stand_in(name)

    async def loras(self, account: Account) -> dict[str, int | None]:
        """All that the account may use, each with the job that installed it, where one did."""
        return {**await self._installed(account, "lora"), **dict.fromkeys(self._settings.loras)}

    async def controlnets(self, account: Account) -> dict[str, int | None]:
        """Likewise."""
        return {**await self._installed(account, "controlnet"), **dict.fromkeys(self._settings.controlnets)}

    async def embeddings(self, account: Account) -> dict[str, int | None]:
        """Likewise. Those of the operator's are known to every prompt."""
        return {**await self._installed(account, "embedding"), **dict.fromkeys(self._settings.embeddings)}

    async def vaes(self, account: Account) -> dict[str, int | None]:
        """Autoencoders, likewise."""
        return {**await self._installed(account, "vae"), **dict.fromkeys(self._settings.vaes)}

    def wants(self, model: str | None) -> Wants:
        """Of a checkpoint's card, None for the default one's."""
        return self._wants.get(model or self.default, USUAL)

    async def suited(self, operation: Operation, name: str) -> str | None:
        """A checkpoint of the operator's that can do what others cannot: the one of that name, or else the first. None: there is none."""
        able = [each for each, wants in (await self._all_wants()).items() if wants.only is operation]
        return name if name in able else next(iter(able), None)

    async def editor(self, name: str, pictures: int) -> str | None:
        """Likewise one that edits by instruction and may be spoken to of so many pictures at once."""
        able = [each for each, wants in (await self._all_wants()).items() if wants.pictures >= pictures]
        return name if name in able else next(iter(able), None)

    async def for_edit(self, name: str, account: Account, pictures: int) -> Choice:
        """As ``checkpoint``; but for a name that is none of this server's stands one that edits by instruction, where there is one."""
        choice = await self.checkpoint(name, account)
        if choice.wants.pictures or (name and not choice.note):
            return choice
        editor = await self.editor(name, min(pictures, MOST_PICTURES)) or await self.editor(name, 1)
        found = await self._own(editor) if editor else None
        return choice if found is None or editor is None else replace(found, note=_other(name, editor) if name else "")

    async def _all_wants(self) -> dict[str, Wants]:
        """Of the operator's checkpoints, those that were added while the server runs among them."""
        return {**self._wants, **{row["name"]: wants_of(row) for row in await self._database.all("additions.all")}}

    async def _stand_in(self, name: str) -> Choice:
        stands_for = await self._alias(name)
        if stands_for is not None and (found := await self._own("" if stands_for == DEFAULT else stands_for)):
            return replace(found, note=_other(name, found.model or self.default))
        if self._settings.unknown_model == "refuse":
            raise NotFound("Model id not found")
        return Choice(None, _other(name, self.default), self.wants(None))

    @property
    def default(self) -> str:
        return self._settings.model or DEFAULT

    async def entries(self, account: Account) -> list[Entry]:
        """All that requests may name, the default checkpoint first, and what the account is having installed last."""
        added = [Entry(row["name"], "checkpoint", row["added_at"]) for row in await self._database.all("additions.all")]
        found = await self._database.all("models.visible", account=account.id)
        return self._own_entries() + added + [_installed_entry(installed_of(row)) for row in found]

    def _own_entries(self) -> list[Entry]:
        models = self._settings.models
        checkpoints = [_entry(name, "checkpoint", path, default=name == self.default) for name, path in models.items()]
        loras = [_entry(name, "lora", path) for name, path in self._settings.loras.items()]
        controlnets = [_entry(name, "controlnet", path) for name, path in self._settings.controlnets.items()]
        embeddings = [_entry(name, "embedding", path) for name, path in self._settings.embeddings.items()]
        vaes = [_entry(name, "vae", path) for name, path in self._settings.vaes.items()]
        return sorted(checkpoints, key=lambda entry: not entry.default) + loras + controlnets + embeddings + vaes

    async def aliases(self) -> list[tuple[str, str]]:
        """Every pattern with what it stands for, in the order in which they are tried."""
        given = [(row["pattern"], row["model"]) for row in await self._database.all("aliases.all")]
        return [*given, *self._settings.model_aliases.items()]

    async def set_alias(self, pattern: str, model: str) -> None:
        """Raises NotFound for a checkpoint that is not here."""
        if model != DEFAULT and await self._own(model) is None:
            added = [row["name"] for row in await self._database.all("additions.all")]
            raise NotFound(f"There is no checkpoint {model}; there are: {_listed([*self._settings.models, *added])}.")
        await self._database.run("aliases.set", pattern=pattern, model=model)

    async def remove_alias(self, pattern: str) -> None:
        """Raises NotFound."""
        if not await self._database.run("aliases.remove", pattern=pattern):
            raise NotFound(f"No alias {pattern} was given by command.")

    async def _installed(self, account: Account, kind: str) -> dict[str, int]:
        """By name; of two the account's own."""
        rows = await self._database.all("models.visible", account=account.id)
        ready = [row for row in rows if row["kind"] == kind and row["state"] == JobState.succeeded]
        return {row["name"]: row["job_id"] for row in reversed(ready)}

    async def _own(self, name: str) -> Choice | None:
        """For the default's own name, or none, the default; for another of this server that one, with what it wants."""
        if name in ("", self._settings.model):
            return replace(DEFAULT_CHECKPOINT, wants=self.wants(None))
        if name in self._settings.models:
            return Choice(name, wants=self.wants(name))
        row = await self._database.one("additions.named", name=name)
        return Choice(name, wants=wants_of(row)) if row else None

    async def _alias(self, name: str) -> str | None:
        """Upper and lower case are one."""
        aliases = await self.aliases()
        return next((model for pattern, model in aliases if re.match(translate(pattern.lower()), name.lower())), None)


def known_names(
    field: str, kinds: str, names: Sequence[str], settings: Settings, known: Collection[str], rule: str = SEVERAL
) -> tuple[tuple[str, ...], str]:
    """Those that are here, and a sentence about the others where they are done without. Raises Invalid where not."""
    unknown = [name for name in names if name not in known]
    if unknown and settings.unknown_names == "refuse":
        raise Invalid(field, f"{rule.format(kinds)}: {_listed(known)}")
    kept = tuple(name for name in names if name in known)
    return kept, f"Done without {kinds} that are not here: {', '.join(unknown)}." if unknown else ""


def installed_words(known: Mapping[str, int | None], *prompts: str) -> dict[str, int]:
    """Of embeddings that somebody installed those whose name is in a prompt, as a word of it."""
    return {word: job_id for word, job_id in known.items() if job_id and any(_has(prompt, word) for prompt in prompts)}


def _has(prompt: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", prompt, re.IGNORECASE) is not None


def _other(asked: str, used: str) -> str:
    return f"model_id {asked} is not on this server; {used} is used."


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "there are none"


def _installed_entry(installed: Installed) -> Entry:
    return Entry(installed.name, installed.kind, installed.created_at, installed=installed)


def _entry(name: str, kind: str, path: Path, *, default: bool = False) -> Entry:
    try:
        added: datetime | None = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        added = None
    return Entry(name, kind, added, default)
