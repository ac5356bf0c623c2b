"""The documentation is under test: settings and commands are all told, links lead somewhere, and the map is of this house."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from safelight.cli import cli
from safelight.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("README.md"), *ROOT.glob("*/README.md")]
)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_told_with_its_help(name: str) -> None:
    told = (ROOT / "docs/reference/settings.md").read_text()
    line = next((line for line in told.splitlines() if line.startswith(f"| `SAFELIGHT_{name.upper()}` |")), "")
    assert (Settings.model_fields[name].description or "no help") in line


def test_no_setting_is_told_that_does_not_exist() -> None:
    told = re.findall(r"^\| `SAFELIGHT_(\w+)` \|", (ROOT / "docs/reference/settings.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(name.upper() for name in Settings.model_fields)


def test_every_command_is_told() -> None:
    told = (ROOT / "docs/reference/commands.md").read_text()
    for name, command in get_command(cli).commands.items():  # type: ignore[attr-defined]
        for words in [f"{name} {sub}" for sub in getattr(command, "commands", {})] or [name]:
            assert f"`safelight {words}" in told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_path_of_the_architecture_page_exists() -> None:
    tree = (ROOT / "docs/architecture.md").read_text().split("```")[1]
    depth: list[str] = []
    paths = 0
    for line in tree.strip().splitlines()[1:]:
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        depth = [*depth[: indent // 2 - 1], name.rstrip("/")]
        assert ROOT.joinpath(*depth).exists(), "/".join(depth)
        paths += 1
    assert paths > 40


def test_every_module_is_on_the_architecture_page() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    modules = [
        path
        for path in (ROOT / "src/safelight").rglob("*.py")
        if "migrations" not in path.parts and not path.name.startswith("__")
    ]
    assert [path.name for path in modules if f" {path.name} " not in page] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
