"""Window by window as whole; many requests at once as each alone; files of the two layouts, and no others."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from safelight.engine import enlarger, tiles
from safelight.engine.enlargement import Work
from safelight.engine.generation import Enlargement, Pixels, Progress
from safelight.engine.upscalers import Upscaler, read_upscaler
from safelight.engine.upscaling import UpscalingRoom
from safelight.engine.weights import read_tensors
from safelight.errors import Cancelled, EngineFailed, Invalid

from .networks import a_compact, a_dense
from .oracle import picture

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("upscalers")
    return {
        "deep": a_dense(folder / "deep.safetensors"),
        "half": a_dense(folder / "half.safetensors", fold=2),
        "compact": a_compact(folder / "compact.safetensors"),
    }


@pytest.fixture(scope="module")
def room(models: dict[str, Path]) -> Iterator[UpscalingRoom]:
    with UpscalingRoom(models, CPU) as opened:
        yield opened


def photograph(height: int, width: int, seed: int = 0) -> Pixels:
    """Soft shapes and sharp edges, everywhere."""
    at = np.random.default_rng(seed).uniform(0, 7, (3, 4))
    y, x = np.mgrid[0:height, 0:width] / 40
    waves = [np.sin(a * x + b) + np.sin(c * y + d) for a, b, c, d in at]
    sharp = ((np.floor(x * 2) + np.floor(y * 2)) % 2)[..., None] * 60
    shades: Pixels = (np.stack(waves, -1) * 40 + 100 + sharp).clip(0, 255).astype(np.uint8)
    return shades


def enlarged(room: UpscalingRoom, pixels: Pixels, width: int, height: int, model: str | None = None) -> Pixels:
    return room.submit(Enlargement(pixels, width, height, model)).future.result(60)


@pytest.mark.parametrize("length", [20, 64, 65, 100, 333, 1000])
def test_windows_cover_everything_and_overlap_as_far_as_they_must(length: int) -> None:
    across = tiles.windows(8, length, 64, 20)
    assert across[0].left == 0
    assert across[-1].left + across[-1].width == length
    for before, window in itertools.pairwise(across):
        assert window.beside == before.left + before.width - window.left >= 20


def test_a_picture_in_windows_is_the_picture_in_one_piece(room: UpscalingRoom) -> None:
    """To the bit: the bundled network sees no further than windows overlap."""
    shown = photograph(520, 400)
    assert np.array_equal(enlarged(room, shown, 800, 1040), enlarger.times(shown, 2))


@pytest.mark.parametrize("model", ["deep", "half", "compact"])
def test_no_seam_where_windows_of_an_operators_network_meet(
    room: UpscalingRoom, models: dict[str, Path], model: str
) -> None:
    shown = photograph(270, 200)
    network = read_upscaler(models[model], CPU)
    with torch.inference_mode():
        unit = torch.from_numpy(shown).permute(2, 0, 1)[None].float() / 255
        whole = network.enlarge(unit, network.factors[0])[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()
    height, width = whole.shape[:2]
    made = enlarged(room, shown, width, height, model)
    assert np.abs(made.astype(int) - whole).max() <= 1


@pytest.mark.parametrize("asked", [(96, 96), (130, 70), (256, 300), (64, 64), (40, 30), (500, 400)])
def test_any_size_that_is_asked(room: UpscalingRoom, asked: tuple[int, int]) -> None:
    for model in (None, "half", "compact"):
        assert enlarged(room, picture(), *asked, model).shape == (asked[1], asked[0], 3)


def test_windows_of_all_requests_share_a_call_and_no_picture_depends_on_its_company(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [photograph(90, 90, seed) for seed in range(3)]
    widths, gate = list[int](), threading.Event()
    call = UpscalingRoom._call

    def counted(self: UpscalingRoom, pieces: object) -> object:
        assert gate.wait(60)
        widths.append(len(pieces))  # type: ignore[arg-type]
        return call(self, pieces)  # type: ignore[arg-type]

    with UpscalingRoom(models, CPU, together=4) as room:
        alone = [enlarged(room, each, 180, 180, "compact") for each in shown]
        monkeypatch.setattr(UpscalingRoom, "_call", counted)
        first = room.submit(Enlargement(shown[0], 180, 180, "half", "ann"))  # holds the thread while the others arrive
        claims = [room.submit(Enlargement(each, 180, 180, "compact", str(i))) for i, each in enumerate(shown)]
        gate.set()
        first.future.result(60)
        made = [claim.future.result(60) for claim in claims]
    assert widths == [1, 3]
    assert all(np.array_equal(*pair) for pair in zip(made, alone, strict=True))


def test_many_windows_of_one_account_do_not_keep_another_waiting(models: dict[str, Path]) -> None:
    ended, gate = list[str](), threading.Event()

    def note(name: str) -> Callable[[Progress], None]:
        def told(progress: Progress) -> None:
            gate.wait(60)
            if progress.step == progress.steps:
                ended.append(name)

        return told

    with UpscalingRoom(models, CPU) as room:
        large = room.submit(Enlargement(photograph(600, 600), 1200, 1200, "compact", "ann"), note("large"))
        small = room.submit(Enlargement(photograph(60, 60), 120, 120, "compact", "ben"), note("small"))
        gate.set()
        large.future.result(60)
        small.future.result(60)
    assert ended == ["small", "large"]


def test_a_claim_taken_back_is_cancelled_and_the_next_is_made(room: UpscalingRoom) -> None:
    claim = room.submit(Enlargement(photograph(600, 600), 1200, 1200, "deep"))
    claim.cancel()
    with pytest.raises(Cancelled):
        claim.future.result(60)
    assert enlarged(room, picture(), 128, 128).shape == (128, 128, 3)


def test_what_is_not_here_or_no_network_is_told(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.safetensors"
    save_file({"body.0.weight": torch.zeros(3), "other": torch.zeros(2)}, nothing)
    with UpscalingRoom({"nothing": nothing}, CPU) as room:
        with pytest.raises(Invalid, match="other names no upscaler"):
            enlarged(room, picture(), 128, 128, "other")
        with pytest.raises(EngineFailed, match="is no upscaler of a layout"):
            enlarged(room, picture(), 128, 128, "nothing")


def test_one_whose_answer_is_not_a_number_hurts_nobody_else(models: dict[str, Path]) -> None:
    broken = Upscaler(lambda shown, _: shown * float("nan"), CPU, (2,))
    with UpscalingRoom(models, CPU) as room:
        room._read = lambda path: broken  # type: ignore[assignment]
        with pytest.raises(EngineFailed, match="not a number"):
            enlarged(room, picture(), 128, 128, "deep")
        assert enlarged(room, picture(), 128, 128).shape == (128, 128, 3)


def test_the_dense_network_is_the_published_one_written_out(models: dict[str, Path]) -> None:
    """RRDBNet as its paper draws it, in functions, from the file's own names."""
    w = {name.removeprefix("params_ema."): value for name, value in read_tensors(models["deep"]).items()}

    def conv(name: str, seen: Tensor) -> Tensor:
        return functional.conv2d(seen, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)

    def leaky(seen: Tensor) -> Tensor:
        return torch.where(seen > 0, seen, seen * 0.2)

    def dense(name: str, x: Tensor) -> Tensor:
        known = [x]
        for number in (1, 2, 3, 4):
            known.append(leaky(conv(f"{name}.conv{number}", torch.cat(known, 1))))
        return x + 0.2 * conv(f"{name}.conv5", torch.cat(known, 1))

    shown = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(1))
    first = seen = conv("conv_first", shown)
    for name in ("rdb1", "rdb2", "rdb3"):
        seen = dense(f"body.0.{name}", seen)
    seen = first + conv("conv_body", first + 0.2 * (seen))
    for name in ("conv_up1", "conv_up2"):
        seen = leaky(conv(name, seen.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    truth = conv("conv_last", leaky(conv("conv_hr", seen)))
    with torch.inference_mode():
        assert torch.allclose(read_upscaler(models["deep"], CPU).enlarge(shown, 4), truth, atol=1e-5)


def test_progress_counts_the_windows_of_all_passes(models: dict[str, Path]) -> None:
    told = list[Progress]()
    with UpscalingRoom(models, CPU) as room:
        room.submit(Enlargement(photograph(150, 200), 800, 600, "compact"), told.append).future.result(60)
    assert [each.step for each in told] == list(range(1, told[-1].steps + 1))
    assert len(told) > 2


def test_a_work_of_which_nothing_is_missing_needs_no_network() -> None:
    from safelight.engine.enlargement import Claim

    claim = Claim(Enlargement(picture(), 64, 64), lambda _: None)
    assert Work(claim, Upscaler(lambda shown, _: shown, CPU, (2, 4))).over
    assert np.array_equal(claim.future.result(0), picture())
