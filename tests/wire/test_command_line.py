"""The vendor's command line (`modelslab-cli` 0.2.2), unchanged: what it does with accounts. Only its base address and token are set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .site import Site

PROGRAM = Path(sys.executable).parent / "modelslab"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where it keeps what it is told."""
    return tmp_path


def run(site: Site, home: Path, key: str, *words: str) -> subprocess.CompletedProcess[str]:
    given = {"HOME": str(home), "MODELSLAB_TOKEN": key, "MODELSLAB_NO_UPDATE_CHECK": "1", "XDG_CONFIG_HOME": str(home)}
    command = [str(PROGRAM), "--base-url", site.settings.base_url, "--no-color", *words]
    return subprocess.run(command, env=os.environ | given, capture_output=True, text=True, timeout=60, check=False)


def told(site: Site, home: Path, key: str, *words: str) -> Any:
    done = run(site, home, key, "--output", "json", *words)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_it_reads_wallet_usage_and_plans(site: Site, home: Path, key: str) -> None:
    site.made(key)
    assert run(site, home, key, "wallet", "balance").stdout == "Wallet balance: $0\n"
    assert told(site, home, key, "usage", "summary")["data"]["total_requests"] == 1
    products = run(site, home, key, "usage", "products").stdout.split()
    assert products == ["PRODUCT", "REQUESTS", "COST", "imagen", "1", "$0"]
    (item,) = told(site, home, key, "usage", "history")["data"]["items"]
    assert item["samples"] == 1
    assert told(site, home, key, "subscriptions", "plans")["data"]["count"] == 0
    assert "account" in run(site, home, key, "profile", "get").stdout
    assert told(site, home, key, "billing", "overview")["data"]["wallet"] == {"balance": 0, "currency": "USD"}


def test_it_makes_and_deletes_keys(site: Site, home: Path, key: str) -> None:
    made = told(site, home, key, "keys", "create", "--name", "phone")["data"]
    assert "phone" in run(site, home, made["key"], "keys", "list").stdout
    assert run(site, home, key, "keys", "delete", "--id", str(made["id"])).returncode == 0
    refused = run(site, home, made["key"], "wallet", "balance")
    assert (refused.returncode, refused.stderr) == (3, "Error: Invalid API key\n")


def test_it_searches_models(site: Site, home: Path, key: str) -> None:
    head, row, _, total = run(site, home, key, "models", "search", "--search", "other").stdout.splitlines()
    assert (head.split()[:2], row.split(), total) == (
        ["MODEL", "ID"],
        ["other", "other", "safelight", "stable_diffusion"],
        "1 results (1 total)",
    )
    assert "stable_diffusion" in run(site, home, key, "models", "detail", "--id", "other").stdout
    assert run(site, home, key, "models", "providers").stdout == "safelight\n"


def test_it_is_told_what_this_server_lacks(site: Site, home: Path, key: str) -> None:
    done = run(site, home, key, "billing", "info")
    assert (done.returncode, "takes no payments" in done.stderr) == (1, True)
