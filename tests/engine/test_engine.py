"""The engine as its users see it: tickets, progress, cancel, failures, caches, sizes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from safelight.engine.engine import Engine
from safelight.engine.generation import Generation, LoraUse, Progress
from safelight.errors import Cancelled, EngineFailed, Invalid

from .oracle import half_mask, picture
from .stand_ins import MicroModel, MicroShelf, as_shelf

WAIT = 60.0


def asks(**what: Any) -> Generation:
    usual: dict[str, Any] = {"prompt": "a cat", "width": 64, "height": 64, "steps": 4, "sampler": "DDIM"}
    return Generation(**(usual | what))


OPTIONS: dict[str, Any] = {"max_rows": 4}


@pytest.fixture(autouse=True, params=[False, True], ids=["in-turn", "aside"])
def every_way_to_decode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIONS, "aside", request.param)


@contextmanager
def running(model: MicroModel | None = None, busy: int = 0, **options: Any) -> Iterator[Engine]:
    with Engine(as_shelf(MicroShelf(model or MicroModel(), busy)), **(OPTIONS | options)) as engine:
        yield engine


class Gate:
    """A progress listener that holds nothing up itself, and tells when a step has been seen."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.first = threading.Event()

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)
        self.first.set()


def test_every_sample_has_its_own_seed() -> None:
    with running() as engine:
        result = engine.submit(asks(samples=3, seed=2**32 - 1)).result(WAIT)
        again = engine.submit(asks(seed=1)).result(WAIT)
    assert [made.seed for made in result.pictures] == [2**32 - 1, 0, 1]
    assert result.pictures[0].pixels.shape == (64, 64, 3)
    assert result.native_size == (64, 64)
    assert np.array_equal(result.pictures[2].pixels, again.pictures[0].pixels)
    assert not np.array_equal(result.pictures[0].pixels, result.pictures[1].pixels)


def test_progress_comes_step_by_step_with_previews() -> None:
    gate = Gate()
    with running() as engine:
        ticket = engine.submit(asks(steps=5, previews=True, sampler="HeunDiscrete"), gate)
        ticket.result(WAIT)
    assert [progress.step for progress in gate.seen] == [1, 2, 3, 4, 5]
    assert {progress.steps for progress in gate.seen} == {5}
    preview = gate.seen[0].preview
    assert preview is not None
    assert preview.shape == (8, 8, 3)
    assert ticket.progress.step == 5


def test_previews_can_be_asked_for_later() -> None:
    gate = Gate()
    with running() as engine:
        ticket = engine.submit(asks(steps=5), gate)
        ticket.previews = True
        ticket.result(WAIT)
    assert gate.seen[-1].preview is not None


def test_steps_are_those_really_run() -> None:
    with running() as engine:
        result = engine.submit(asks(steps=8, init_image=picture(), strength=0.5)).result(WAIT)
    assert result.steps == 4


class SlowToDevelop(MicroModel):
    """Decodes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.now = threading.Event()

    def decode(self, latents: Tensor, other: object = None) -> Tensor:
        assert self.now.wait(WAIT)
        return super().decode(latents, other)


def test_others_go_on_while_a_picture_is_decoded_aside() -> None:
    model = SlowToDevelop()
    with running(model, aside=True) as engine:
        short = engine.submit(asks(steps=1))
        long = engine.submit(
            asks(steps=900, sampler="EulerDiscrete"),
            lambda progress: model.now.set() if progress.step == 20 else None,
        )
        assert short.result(WAIT).steps == 1
        assert long.progress.step >= 20
        long.cancel()


def test_what_is_cancelled_in_the_decoder_stays_cancelled() -> None:
    model = SlowToDevelop()
    with running(model, aside=True) as engine:
        cancelled, kept = engine.submit(asks(steps=1)), engine.submit(asks(steps=2))
        while cancelled.progress.step < 1:
            time.sleep(0.01)
        cancelled.cancel()
        assert isinstance(cancelled.future.exception(WAIT), Cancelled)
        model.now.set()
        assert kept.result(WAIT).steps == 2
        assert engine.load().pictures == 0


def test_a_listener_that_fails_hurts_nobody() -> None:
    def listener(progress: Progress) -> None:
        raise RuntimeError("not my day")

    with running() as engine:
        assert engine.submit(asks(), listener).result(WAIT).steps == 4


def test_cancel_stops_it_and_nobody_else() -> None:
    gate = Gate()
    with running() as engine:
        long = engine.submit(asks(steps=900, sampler="EulerDiscrete"), gate)
        other = engine.submit(asks())
        assert gate.first.wait(WAIT)
        long.cancel()
        assert isinstance(long.future.exception(WAIT), Cancelled)
        assert other.result(WAIT).steps == 4
        other.cancel()
        assert other.future.exception() is None
        assert engine.load().pictures == 0


def test_close_fails_what_is_not_done_and_takes_no_more() -> None:
    gate = Gate()
    with running() as engine:
        long = engine.submit(asks(steps=900, sampler="EulerDiscrete"), gate)
        assert gate.first.wait(WAIT)
    assert isinstance(long.future.exception(0), Cancelled)
    with pytest.raises(EngineFailed, match="closed"):
        engine.submit(asks())


def test_a_model_that_is_loading_is_waited_for() -> None:
    with running(busy=3) as engine:
        assert engine.submit(asks()).result(WAIT).steps == 4


def test_a_model_that_cannot_be_loaded_fails_the_request() -> None:
    with running() as engine:
        broken = engine.submit(asks(model="broken"))
        with pytest.raises(EngineFailed, match="cannot be loaded"):
            broken.result(WAIT)


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ("width", {"width": 60}),
        ("height", {"height": 0}),
        ("samples", {"samples": 0}),
        ("steps", {"steps": 0}),
        ("guidance_scale", {"guidance_scale": float("nan")}),
        ("strength", {"strength": 0.0}),
        ("strength", {"strength": 1.1}),
        ("seed", {"seed": -1}),
        ("clip_skip", {"clip_skip": 0}),
        ("sampler", {"sampler": "KarrasVe"}),
        ("init_image", {"mask_image": half_mask()}),
        ("init_image", {"init_image": half_mask()}),
        ("mask_image", {"init_image": picture(), "mask_image": picture()}),
    ],
)
def test_what_is_wrong_at_sight_is_refused_at_once(field: str, what: dict[str, Any]) -> None:
    engine = Engine(as_shelf(MicroShelf(MicroModel())))
    with pytest.raises(Invalid) as refused:
        engine.submit(asks(**what))
    assert refused.value.field == field
    engine.close()


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ("strength", {"init_image": picture(), "strength": 0.1}),
        ("spacing", {"spacing": "karras"}),
        ("algorithm_type", {"algorithm_type": "dpmsolver++"}),
        ("steps", {"sampler": "DPMSolverMultistep", "spacing": "beta", "steps": 50}),
    ],
)
def test_what_only_the_checkpoint_can_tell_comes_through_the_ticket(field: str, what: dict[str, Any]) -> None:
    with running() as engine:
        refused = engine.submit(asks(**what)).future.exception(WAIT)
    assert isinstance(refused, Invalid)
    assert refused.field == field


def test_an_inpainting_checkpoint_asks_for_a_mask() -> None:
    with running(MicroModel(unet_channels=9)) as engine:
        refused = engine.submit(asks()).future.exception(WAIT)
        assert isinstance(refused, Invalid)
        assert refused.field == "mask_image"
        engine.submit(asks(init_image=picture(), mask_image=half_mask())).result(WAIT)


def test_what_is_kept_inside_the_mask_is_kept_to_the_pixel() -> None:
    original = picture()
    with running() as engine:
        made = engine.submit(asks(init_image=original, mask_image=half_mask())).result(WAIT).pictures[0].pixels
    assert np.array_equal(made[:, :32], original[:, :32])
    assert not np.array_equal(made[:, 32:], original[:, 32:])


def test_prompts_and_pictures_are_read_once_per_owner() -> None:
    model = MicroModel()
    with running(model) as engine:
        for owner in ("ann", "ann", "bob"):
            engine.submit(asks(owner=owner, init_image=picture(), samples=2)).result(WAIT)
    assert model.encoded.count("a cat") == 2
    assert model.looked == 2


def test_a_purge_is_for_one_owner_and_at_once() -> None:
    model = MicroModel()
    with running(model) as engine:
        for owner in ("ann", "bob"):
            engine.submit(asks(owner=owner, init_image=picture())).result(WAIT)
        engine.purge("ann")
        for owner in ("bob", "ann"):
            engine.submit(asks(owner=owner, init_image=picture())).result(WAIT)
    assert model.looked == 3
    assert model.encoded.count("a cat") == 3


def test_work_begun_before_a_purge_leaves_nothing_behind() -> None:
    model = MicroModel()
    with running(model, busy=5) as engine:
        early = engine.submit(asks(owner="ann"))
        engine.purge("ann")
        early.result(WAIT)
        engine.submit(asks(owner="ann")).result(WAIT)
    assert model.encoded.count("a cat") == 2


def test_a_native_size_draws_small_and_delivers_what_was_asked() -> None:
    with running(MicroModel(native_size=64)) as engine:
        result = engine.submit(asks(width=512, height=256, init_image=picture(90, 50))).result(WAIT)
    assert result.native_size == (88, 48)
    assert result.pictures[0].pixels.shape == (256, 512, 3)


@pytest.mark.parametrize(("side", "drawn"), [(128, 64), (64, 64), (48, 48)])
def test_the_modest_are_drawn_no_larger_than_the_checkpoint_was_trained_to(side: int, drawn: int) -> None:
    with running(MicroModel()) as engine:
        result = engine.submit(asks(width=side, height=side, modest=True)).result(WAIT)
    assert (result.native_size, result.modest) == ((drawn, drawn), drawn < side)
    assert result.pictures[0].pixels.shape == (side, side, 3)


def test_load_and_predicted_cost_are_measured() -> None:
    gate = Gate()
    with running() as engine:
        assert engine.seconds(asks()) == 0.0
        engine.submit(asks(samples=2)).result(WAIT)
        long = engine.submit(asks(steps=900, sampler="EulerDiscrete"), gate)
        assert gate.first.wait(WAIT)
        load = engine.load()
        assert (load.requests, load.pictures, load.rows_waiting) == (1, 1, 2)
        assert load.seconds_ahead > 100 * load.seconds_per_step / 2
        assert engine.seconds(asks(steps=40)) > engine.seconds(asks(steps=4)) > 0
        long.cancel()
    timings = engine.load().timings
    assert timings.pictures == 2
    assert 2 * timings.ticks <= timings.rows <= timings.padded_rows <= 4 * timings.ticks
    decoding = timings.aside if OPTIONS["aside"] else timings.vae
    assert min(timings.unet, decoding, timings.text, timings.rest) > 0


def test_requests_with_other_loras_do_not_share_a_call() -> None:
    with running(max_rows=8) as engine:
        plain = engine.submit(asks(seed=3)).result(WAIT)
        tickets = [engine.submit(asks(seed=3, loras=loras)) for loras in ((), (LoraUse("style"),))]
        made = [ticket.result(WAIT).pictures[0].pixels for ticket in tickets]
    assert np.array_equal(made[0], plain.pictures[0].pixels)
