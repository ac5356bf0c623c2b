"""Jobs: what is accepted, refused, told, and made."""

from __future__ import annotations

import pytest

from safelight.records import JobState
from tests.house import House, a_bitmap, a_request, colour, encode

pytestmark = pytest.mark.anyio


async def test_a_job_becomes_a_picture(house: House) -> None:
    async with house.working():
        job = await house.finished(await house.submit(init=a_bitmap()))
    assert (job.state, job.outputs, job.model, job.step, job.steps) == (JobState.succeeded, 1, "plain", 4, 4)
    asset, data = await house.services.assets.open(house.services.assets.output_names(job)[0])
    assert data == encode(colour(3, 64, 64))
    assert asset.size == len(data)
