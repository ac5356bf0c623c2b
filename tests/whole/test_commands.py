"""Every command as a person types it: what it prints, what it leaves, and one sentence where something is wrong."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest
from PIL import Image
from typer.testing import CliRunner

from safelight import doctor
from safelight.checkpoints import BUNDLED_NAME
from safelight.cli import cli
from safelight.errors import SafelightError, SetupFailed
from safelight.settings import read_settings
from tests.whole.conftest import DRAWING, PHOTO
from tests.whole.running import Running, command, leftovers, typed


def test_keys_beside_a_running_server(door: Running) -> None:
    made = json.loads(command(door.data, "keys", "create", "team-a", "--label", "phone", "--json").stdout)
    assert door.answer("v3/system_load", key=made["key"]).status_code == 200
    listed = json.loads(command(door.data, "keys", "list", "--json").stdout)
    named = {(key["account_name"], key["label"]): key["prefix"] for key in listed}
    assert named.keys() >= {("default", "first start"), ("team-a", "phone")}
    assert made["key"] not in json.dumps(listed)
    assert made["key"].startswith(named["team-a", "phone"])
    revoked = command(door.data, "keys", "revoke", made["prefix"])
    assert revoked.stdout == f"Revoked {made['prefix']} of account team-a.\n"
    assert door.answer("v3/system_load", key=made["key"]).status_code == 401
    unknown = command(door.data, "keys", "revoke", "slk_none")
    assert (unknown.returncode, unknown.stdout, unknown.stderr.count("\n")) == (1, "", 1)


def test_erasing_beside_a_running_server(door: Running) -> None:
    made = json.loads(typed(door.data, "keys", "create", "team-gone", "--json").stdout)
    photo = base64.b64encode(PHOTO.read_bytes()).decode()
    urls = [door.post("v6/base64_to_url", key=made["key"], base64_string=photo)["output"][0] for _ in range(2)]
    dry = typed(door.data, "erase", "team-gone", "--kind", "upload", "--older-than", "0", "--dry-run")
    assert dry.stdout.startswith("Would erase 2 requests with 2 files, ")
    assert [httpx.get(url).status_code for url in urls] == [200, 200]
    done = typed(door.data, "erase", "team-gone", "--all")
    assert done.stdout.startswith("Erased 2 requests with 2 files. Receipt: ")
    assert [httpx.get(url).status_code for url in urls] == [404, 404]
    told = httpx.get(f"{door.url}/v1/erasures/{done.stdout.split()[-1]}", headers={"key": made["key"]})
    assert told.json()["requests"] == 2
    ended = typed(door.data, "accounts", "erase", "team-gone", "--yes")
    assert ended.stdout == "Account team-gone is erased.\n"
    assert door.answer("v3/system_load", key=made["key"]).status_code == 401


@pytest.mark.parametrize("words", [[], ["--all", "--kind", "upload"], ["--id", "5", "--older-than", "3"]])
def test_who_does_not_say_what_to_erase_erases_nothing(tmp_path: Path, words: list[str]) -> None:
    result = CliRunner().invoke(cli, ["erase", "team", "--data-dir", str(tmp_path), *words])
    assert isinstance(result.exception, SetupFailed)
    assert result.exception.message.startswith("Say what to erase")


@pytest.mark.slow
def test_keys_without_a_server(data: Path) -> None:
    """The embedded database is started for a moment, and nothing of it is left."""
    made = command(data, "keys", "create", "alone")
    assert made.stdout.startswith("Key of account alone, shown only this once: slk_")
    listed = command(data, "keys", "list")
    assert "alone" in listed.stdout
    assert made.stdout.split()[-1] not in listed.stdout
    assert command(data, "keys", "webhook-secret", "alone").stdout.startswith("whsec_")
    assert leftovers(data) == []


def test_models_list(data: Path, checkpoint: str) -> None:
    listed = typed(
        data, "models", "list", "--json", SAFELIGHT_MODELS=json.dumps({"mine": checkpoint}), SAFELIGHT_MODEL="mine"
    )
    found = {row["name"]: row for row in json.loads(listed.stdout)}
    assert found.keys() == {BUNDLED_NAME, "mine"}
    assert found["mine"]["default"] is True
    assert (found["mine"]["kind"], found["mine"]["path"]) == ("diffusers folder", checkpoint)
    assert found["mine"]["bytes"] > 100_000


@pytest.mark.slow
def test_imagine_draws_step_by_step(data: Path, checkpoint: str, tmp_path: Path) -> None:
    """As on a terminal, where the bar is shown."""
    out = tmp_path / "out.png"
    words = ["--steps", "6", "--strength", "1", "--width", "128", "--height", "64"]
    done = command(
        data, "imagine", str(PHOTO), "a red apple", "-o", str(out), *words, SAFELIGHT_MODEL=checkpoint, FORCE_COLOR="1"
    )
    assert done.returncode == 0, done.stderr
    assert "loading the model" in done.stderr
    assert "6/6" in done.stderr
    assert str(out) in done.stdout
    with Image.open(out) as drawn:
        assert drawn.size == (128, 64)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["imagine", "nowhere.png", "a cat"], "There is no picture at nowhere.png."),
        (["imagine", __file__, "a cat"], "is not a PNG, JPEG or WebP picture"),
        (["imagine", str(PHOTO), "a cat", "-o", "/nowhere/out.png"], "Cannot write /nowhere/out.png"),
        (["imagine", str(PHOTO), "a cat", "--model", "/nowhere"], "neither a name from `models` nor a path that exists"),
        (["models", "list", "--model", "/nowhere"], "neither a name from `models` nor a path that exists"),
        (["keys", "list", "--database-url", "postgresql://127.0.0.1:1/none"], "The database does not answer."),
        (["keys", "list", "--database-url", "not an address"], "database"),
        (["webhooks", "replay"], "Say which: ids, or --dead"),
        (["worker"], "Start `safelight serve` there, or give --database-url."),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistake_is_told_in_one_sentence(data: Path, checkpoint: str, words: list[str], said: str) -> None:
    ended = typed(data, *words, SAFELIGHT_MODEL=checkpoint)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert ended.stderr.startswith("safelight: ")
    assert ended.stderr.count("\n") == 1
    assert leftovers(data) == []


def test_a_picture_is_edited_without_a_server(tmp_path: Path) -> None:
    large, cut, mask = (tmp_path / name for name in ("large.webp", "cut.png", "mask.jpg"))
    small = tmp_path / "small.png"
    Image.open(DRAWING).resize((96, 80)).save(small)
    said = [
        CliRunner().invoke(cli, ["edit", *words]).output
        for words in (
            ["upscale", str(small), "-o", str(large), "--scale", "2.5"],
            ["removebg", str(DRAWING), "-o", str(cut)],
            ["removebg", str(small), "-o", str(mask), "--only-mask"],
        )
    ]
    assert "There is no segmentation model here" in said[1]
    with Image.open(large) as enlarged, Image.open(cut) as without, Image.open(mask) as alone:
        assert (enlarged.size, without.mode, alone.mode) == ((240, 200), "RGBA", "L")
        assert without.getpixel((5, 5))[3] == 0  # type: ignore[index]  # the sky


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["upscale", str(PHOTO), "--upscaler", "none"], "Model id not found"),
        (["removebg", str(PHOTO), "-o", "cut.jpg"], r"Cannot write cut\.jpg: give a \.png or \.webp file"),
        (["outpaint", "nowhere.png"], r"There is no picture at nowhere\.png"),
    ],
)
def test_an_edit_that_cannot_be_made_says_why(words: list[str], said: str) -> None:
    ended = CliRunner().invoke(cli, ["edit", *words])
    with pytest.raises(SafelightError, match=said):
        raise ended.exception or AssertionError(ended.output)


@pytest.mark.slow
def test_a_picture_is_painted_on_beyond_its_edges(checkpoint: str, tmp_path: Path) -> None:
    out = tmp_path / "wide.png"
    size = ["--width", "640", "--height", "512", "--steps", "2", "--model", checkpoint]
    ended = CliRunner().invoke(cli, ["edit", "outpaint", str(DRAWING), "-o", str(out), *size])
    assert ended.exit_code == 0, ended.output
    with Image.open(out) as wide, Image.open(DRAWING) as drawing:
        inside = (64 + 10, 0, 64 + 512 - 10, 512)
        kept = drawing.convert("RGB").resize((512, 512)).crop((10, 0, 502, 512))
        assert (wide.size, wide.crop(inside).tobytes() == kept.tobytes()) == ((640, 512), True)


@pytest.mark.parametrize(
    "words", [[], ["serve"], ["worker"], ["imagine"], ["keys"], ["keys", "create"], ["models"], ["doctor"]]
)
def test_help_says_what_each_command_does(words: list[str]) -> None:
    shown = CliRunner().invoke(cli, [*words, "--help"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    assert "Usage:" in shown.output
    assert len(shown.output.splitlines()) > 5


@pytest.mark.slow
def test_a_doctor_finds_a_good_machine_well(door: Running, checkpoint: str) -> None:
    looked = command(door.data, "doctor", SAFELIGHT_MODEL=checkpoint)
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert [line.split()[0] for line in looked.stdout.splitlines()] == ["ok"] * len(doctor.EXAMINATIONS)
    assert "embedded, running" in looked.stdout


@pytest.mark.parametrize(
    ("part", "given", "advice"),
    [
        ("database", {"database_url": "postgresql://127.0.0.1:1/none"}, "Check that it runs, and the address given with --database-url."),
        ("address", {"host": "0.0.0.0"}, "Set SAFELIGHT_PUBLIC_URL (--public-url) to the address by which clients reach this server."),
        ("clock", {"database_url": "postgresql://127.0.0.1:1/none"}, "It does not answer"),
        ("blob store", {"blob_url": "file:///etc/passwd/x"}, "cannot be written: File exists. Correct that, or choose"),
        ("blob store", {"blob_url": "ftp://pictures"}, "Expected file://, s3://, gs:// or az://."),
        ("model", {"model": "/nowhere"}, "neither a name from `models` nor a path that exists."),
        ("disk", {"data_dir": "/proc/nowhere"}, "--data-dir"),
        ("device", {"device": "cuda"}, "Use auto, or install a CUDA build of torch."),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)  # fmt: skip
def test_a_doctor_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str, given: dict[str, str], advice: str
) -> None:
    monkeypatch.setattr(doctor, "EXAMINATIONS", {part: doctor.EXAMINATIONS[part]})
    (finding,) = doctor.examine(read_settings(**{"data_dir": tmp_path} | given))
    assert not finding.ok
    assert advice in finding.text


def test_wallets_and_plans_beside_a_running_server(door: Running) -> None:
    typed(door.data, "keys", "create", "payer")
    said = typed(door.data, "accounts", "credit", "payer", "12.50", "--note", "invoice 17").stdout
    assert said == "The wallet of payer holds 12.500000 USD.\n"
    assert typed(door.data, "accounts", "credit", "payer", "-2").stdout.startswith("The wallet of payer holds 10.5")
    assert typed(door.data, "accounts", "plan", "payer", "premium").stdout == "Account payer has plan premium.\n"
    listed = json.loads(typed(door.data, "accounts", "list", "--json").stdout)
    money = {"account": "payer", "plan": "premium", "available": "10.500000", "held": "0.000000"}
    assert money | {"kept": 0, "most_jobs": None, "most_bytes": None} in listed
    assert "premium" in typed(door.data, "accounts", "list").stdout
    assert "3 jobs at a time" in typed(door.data, "accounts", "limit", "payer", "--jobs", "3", "--bytes", "9").stdout
    limited = json.loads(typed(door.data, "accounts", "list", "--json").stdout)
    assert next(row for row in limited if row["account"] == "payer")["most_bytes"] == 9
    for words, sentence in (
        (("credit", "nobody", "1"), "There is no account nobody."),
        (("credit", "payer", "much"), "much is not an amount of money."),
    ):
        refused = typed(door.data, "accounts", *words)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert sentence in refused.stderr


def test_how_long_an_account_is_kept_beside_a_running_server(door: Running) -> None:
    typed(door.data, "keys", "create", "keeper")
    assert typed(door.data, "accounts", "retention", "keeper").stdout.startswith("Nothing limits how long")
    assert "7 days" in typed(door.data, "accounts", "retention", "keeper", "--days", "7").stdout
    told = json.loads(typed(door.data, "accounts", "retention", "keeper", "--json").stdout)
    assert told == [{"seconds": 7 * 86400, "key_id": None, "set_by": "operator"}]
    refused = typed(door.data, "accounts", "retention", "keeper", "--key", "999999", "--days", "7")
    assert (refused.returncode, refused.stderr) == (1, "safelight: Not found\n")
    assert typed(door.data, "accounts", "retention", "keeper", "--lift", "--store", "none", "--json").stdout == "[]\n"


def test_webhooks_beside_a_running_server(door: Running) -> None:
    """What becomes of those that there are, the service's tests tell."""
    typed(door.data, "keys", "create", "never-called")
    assert typed(door.data, "webhooks", "list", "--account", "never-called", "--json").stdout == "[]\n"
    assert (
        typed(door.data, "webhooks", "replay", "--dead", "--account", "never-called").stdout
        == "0 webhooks are owed anew.\n"
    )
    refused = typed(door.data, "webhooks", "replay", "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10")
    assert (refused.returncode, refused.stderr) == (1, "safelight: Not found\n")
