"""Which network is used for a name, and what is said where it is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from safelight.errors import NotFound
from safelight.service import tools
from safelight.settings import read_settings


def test_the_operators_first_segmenter_is_used_where_none_is_named(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.onnx" for name in ("isnet", "u2net")}
    for path in files.values():
        path.write_bytes(b"0")
    settings = read_settings(data_dir=tmp_path, segmenters=files)
    chosen = [tools.segmenter(name, settings) for name in ("", "u2net", "isnet", "other")]
    assert [each.name for each in chosen] == ["isnet", "u2net", "isnet", "isnet"]
    assert [each.note for each in chosen] == ["", "", "", "model_id other is not on this server; isnet is used."]
    with pytest.raises(NotFound, match="Model id not found"):
        tools.segmenter("other", settings.model_copy(update={"unknown_model": "refuse"}))


def test_a_larger_network_costs_more(tmp_path: Path) -> None:
    large = tmp_path / "large.safetensors"
    large.write_bytes(bytes(tools.BUNDLED_BYTES * 10))
    settings = read_settings(data_dir=tmp_path, upscalers={"large": large})
    assert tools.upscaler("large", settings).effort == 10 * tools.upscaler("", settings).effort
    with pytest.raises(NotFound, match="Model id not found"):
        tools.upscaler("other", settings.model_copy(update={"unknown_model": "refuse"}))
