"""Which worker gets which device."""

from __future__ import annotations

import pytest

from safelight.settings import read_settings
from safelight.supervisor import Supervisor


async def bury(worker: str, *, crashed: bool) -> int:
    return 0


@pytest.mark.parametrize(
    ("count", "device", "given"),
    [
        (1, "auto", ["auto"]),
        (2, "cuda", ["cuda", "cuda"]),
        (1, "cpu:0, cpu:1", ["cpu:0", "cpu:1"]),
        (3, "cpu:0,cpu:1", ["cpu:0", "cpu:1", "cpu:0"]),
        (0, "cpu:0,cpu:1", []),
    ],
)
def test_workers_have_the_devices_in_turn_and_none_is_left_out(count: int, device: str, given: list[str]) -> None:
    devices = read_settings(device=device).devices
    environments = Supervisor(count, {"SAFELIGHT_DEVICE": device, "HOME": "/"}, bury, devices=devices).environments
    assert [environment["SAFELIGHT_DEVICE"] for environment in environments] == given
    assert all(environment["HOME"] == "/" for environment in environments)
