"""What stands for the names that apps send: this server's own, aliases in their order, and the default for the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from safelight.engine.families import FAMILIES
from safelight.engine.families.depth2img import Depth2Img
from safelight.engine.families.instruct_pix2pix import InstructPix2Pix
from safelight.errors import Invalid, NotFound
from safelight.records import Operation, Wants
from safelight.service.additions import PICTURES
from safelight.service.catalogue import Catalogue, Choice, installed_words, known_names
from safelight.settings import Settings, read_settings
from tests.house import House

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent
MODELS = {"mine": HERE, "photo": HERE, "flux-local": HERE}


def a_catalogue(house: House, **given: object) -> Catalogue:
    return Catalogue(read_settings(models=MODELS, model="mine", loras={"ink": HERE}, **given), house.database)


async def test_ones_own_names_need_no_note(house: House) -> None:
    catalogue = a_catalogue(house)
    assert [await catalogue.checkpoint(name) for name in ("", "mine", "photo")] == [Choice(), Choice(), Choice("photo")]


async def test_a_checkpoint_brings_what_its_card_wants(house: House) -> None:
    given, photo = read_settings(models=MODELS, model="mine"), Wants(steps=30, guidance_scale=4.0)
    catalogue = Catalogue(given, house.database, {"photo": photo})
    assert (await catalogue.checkpoint("photo")).wants == photo
    assert (await catalogue.checkpoint("")).wants == Wants()


@pytest.mark.parametrize(
    ("family", "operation"), [(InstructPix2Pix, Operation.pix2pix), (Depth2Img, Operation.depth2img)]
)
async def test_one_that_was_added_while_the_server_runs_is_found_by_its_kind(
    house: House, family: type, operation: Operation
) -> None:
    catalogue, found = a_catalogue(house), {"path": str(HERE), "steps": 20, "guidance_scale": 7.5}
    await house.database.run("additions.add", name="usual", family="StableDiffusion", **found)
    assert await catalogue.suited(operation, "usual") is None
    await house.database.run("additions.add", name="late", family=family.__name__, **found)
    assert await catalogue.suited(operation, "usual") == "late"
    assert (await catalogue.checkpoint("late")).wants.only is operation


async def test_of_how_many_pictures_an_instruction_may_speak(house: House) -> None:
    told = {each.__name__: each.most_pictures for each in FAMILIES if each.most_pictures and not each.holds}
    assert told == PICTURES
    catalogue, found = a_catalogue(house), {"path": str(HERE), "steps": 20, "guidance_scale": 4.0}
    account = house.account
    assert (await catalogue.editor("", 1), await catalogue.for_edit("", account, 2)) == (None, Choice())
    for name, family in (("one", "QwenImageEdit"), ("many", "Kontext")):
        await house.database.run("additions.add", name=name, family=family, **found)
    assert [await catalogue.editor(name, count) for name, count in (("one", 1), ("one", 2), ("", 5))] == [
        "one",
        "many",
        None,
    ]
    chosen = [await catalogue.for_edit(name, account, 9) for name in ("", "one", "photo", "gpt-image")]
    assert [each.model for each in chosen] == ["many", "one", "photo", "many"]
    assert [each.note for each in chosen] == ["", "", "", "model_id gpt-image is not on this server; many is used."]


@pytest.mark.parametrize(
    ("asked", "used"),
    [("flux", "flux-local"), ("FLUX.1-dev", "flux-local"), ("realistic-vision-51", "photo"), ("sdxl", "mine")],
)
async def test_the_first_pattern_that_fits_counts(house: House, asked: str, used: str) -> None:
    aliases = {"flux*": "flux-local", "realistic-*": "photo", "*": "default"}
    choice = await a_catalogue(house, model_aliases=aliases, unknown_model="refuse").checkpoint(asked)
    assert choice == Choice(
        None if used == "mine" else used, f"model_id {asked} is not on this server; {used} is used."
    )


async def test_what_was_given_by_command_comes_first_and_goes_again(house: House) -> None:
    catalogue = a_catalogue(house, model_aliases={"flux": "photo"})
    await catalogue.set_alias("flux", "flux-local")
    assert (await catalogue.checkpoint("flux")).model == "flux-local"
    await catalogue.remove_alias("flux")
    assert (await catalogue.checkpoint("flux")).model == "photo"
    with pytest.raises(NotFound):
        await catalogue.remove_alias("flux")
    with pytest.raises(NotFound, match="There is no checkpoint painting; there are: flux-local, mine, photo"):
        await catalogue.set_alias("flux", "painting")


async def test_a_name_that_nothing_stands_for(house: House) -> None:
    said = "model_id midjourney is not on this server; mine is used."
    assert await a_catalogue(house).checkpoint("midjourney") == Choice(None, said)
    with pytest.raises(NotFound, match="Model id not found"):
        await a_catalogue(house, unknown_model="refuse").checkpoint("midjourney")


async def test_an_alias_of_a_checkpoint_that_is_gone_is_as_none(house: House) -> None:
    assert (await a_catalogue(house, model_aliases={"flux": "gone"}).checkpoint("flux")).model is None


def loras(given: Settings) -> tuple[tuple[str, ...], str]:
    return known_names("lora_model", "LoRAs", ["ink", "gold"], given, given.loras)


async def test_loras_are_refused_by_name_or_done_without() -> None:
    with pytest.raises(Invalid, match=r"separated by commas: ink$"):
        loras(read_settings(loras={"ink": HERE}))
    dropped = read_settings(loras={"ink": HERE}, unknown_names="drop")
    assert loras(dropped) == (("ink",), "Done without LoRAs that are not here: gold.")


async def test_entries_begin_with_the_default(house: House) -> None:
    entries = await a_catalogue(house).entries(house.account)
    assert [(entry.name, entry.kind, entry.default) for entry in entries] == [
        ("mine", "checkpoint", True), ("photo", "checkpoint", False), ("flux-local", "checkpoint", False), ("ink", "lora", False),
    ]  # fmt: skip
    assert all(entry.added_at for entry in entries)


def test_an_installed_word_counts_where_it_is_a_word_of_a_prompt() -> None:
    known = {"mycat": 7, "my-dog": 8, "house": None, "absent": 9}
    assert installed_words(known, "a MyCat, (my-dog:1.2)", "house") == {"mycat": 7, "my-dog": 8}
    assert installed_words(known, "mycats", "") == {}
