"""Formats by content: real files, as small as their formats allow, made by the standard library or spelt out."""

from __future__ import annotations

import pytest

from safelight.service.media import FORMATS, format_named, recognised
from tests.service.media_files import FILES, OBJ


@pytest.mark.parametrize("suffix", sorted(FILES))
def test_a_file_is_what_its_content_is(suffix: str) -> None:
    its = format_named(f"x{suffix}")
    assert recognised(FILES[suffix], its.medium) is its


@pytest.mark.parametrize("suffix", sorted(FILES))
def test_it_is_nothing_else_and_cut_it_is_nothing(suffix: str) -> None:
    shared = next((pair for pair in ({".mp4", ".m4a"}, {".webm", ".weba"}) if suffix in pair), set())
    assert {its.suffix for its in FORMATS if its.fits(FILES[suffix])} == {suffix} | shared
    assert [its for its in FORMATS if its.fits(FILES[suffix][:1])] == []


@pytest.mark.parametrize(
    "text", [b"", b"v", b"<script>alert(1)</script>", b"v 0 0 0\n<html>", b"# v 0 0 0", b"\0" * 500]
)
def test_what_is_no_model(text: bytes) -> None:
    assert recognised(text, "3d") is None


def test_a_long_model_is_judged_by_its_beginning() -> None:
    assert recognised(OBJ * 5_000, "3d") is format_named("x.obj")


def test_every_format_is_tried() -> None:
    assert set(FILES) == {its.suffix for its in FORMATS} - {".png"}
