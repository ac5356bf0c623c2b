"""Pictures through the real decoding program: what comes out, what is refused, and that nothing takes it down."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import pytest
import uvloop
from PIL import Image

from safelight.errors import Invalid, Unavailable
from safelight.records import Bitmap
from safelight.service import darkroom as darkroom_module
from safelight.service import decode
from safelight.service.darkroom import Darkroom
from tests.service import pictures

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Develop = Callable[..., Bitmap]


@pytest.fixture(scope="module")
def room() -> Iterator[Darkroom]:
    room = Darkroom(max_pixels=1_000_000, min_side=16, cpu_seconds=10)
    yield room
    room.close()


@pytest.fixture
def develop(room: Darkroom) -> Develop:
    def develop(data: bytes, mode: Literal["RGB", "L"] = "RGB") -> Bitmap:
        return asyncio.run(room.develop(data, mode))

    return develop


def pixels(bitmap: Bitmap) -> Pixels:
    with Image.open(BytesIO(bitmap.png)) as picture:
        assert picture.size == (bitmap.width, bitmap.height)
        return np.asarray(picture)


def refusal(develop: Develop, data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        develop(data)
    return caught.value.rule


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_lossless_picture_comes_back_pixel_for_pixel(develop: Develop, kind: str) -> None:
    bitmap = develop(pictures.still(kind, lossless=True))
    assert np.array_equal(pixels(bitmap), pictures.speckled())
    assert (bitmap.width, bitmap.height, len(bitmap.sha256)) == (48, 32, 64)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_every_exif_orientation_is_put_upright(develop: Develop, orientation: int, kind: str) -> None:
    stored = pictures.stored_as(pictures.speckled(), orientation)
    data = pictures.saved(stored, kind, lossless=True, exif=pictures.exif(orientation))
    assert np.array_equal(pixels(develop(data)), pictures.speckled())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_equals_its_own_pixels_turned(develop: Develop, orientation: int) -> None:
    upright = pictures.speckled()
    data = pictures.saved(pictures.stored_as(upright, orientation), "JPEG", quality=95, exif=pictures.exif(orientation))
    with Image.open(BytesIO(data)) as lying:
        lossy = np.asarray(lying)
    assert np.array_equal(np.asarray(pictures.stored_as(pixels(develop(data)), orientation)), lossy)


@pytest.mark.parametrize("block", [b"Exif\0\0rubbish", b"Exif\0\0MM\0*\xff\xff\xff\xff", pictures.exif(99)])
def test_a_broken_exif_block_is_ignored(develop: Develop, block: bytes) -> None:
    assert pixels(develop(pictures.still("JPEG", exif=block))).shape == (32, 48, 3)


def test_the_output_holds_nothing_but_pixels(develop: Develop) -> None:
    data = pictures.still(
        "JPEG", exif=pictures.exif(1), icc_profile=pictures.swapped_profile(), comment=b"CANARY-comment"
    )
    png = develop(data).png
    place, kinds = 8, []
    while place < len(png):
        kinds.append(png[place + 4 : place + 8])
        place += 12 + int.from_bytes(png[place : place + 4], "big")
    assert sorted(set(kinds)) == [b"IDAT", b"IEND", b"IHDR"]


def test_sixteen_bits_are_scaled_not_clipped(develop: Develop) -> None:
    values = [0, 255, 256, 0x1234, 0x8000, 0xFFFF] + [0] * 10
    line = b"".join(value.to_bytes(2, "big") for value in values)
    grey = pictures.png(16, 16, depth=16, colour=0, rows=line * 16)
    colour = pictures.png(16, 16, depth=16, colour=2, rows=b"".join(line[i : i + 2] * 3 for i in range(0, 32, 2)) * 16)
    expected = [0, 0, 1, 0x12, 0x80, 0xFF] + [0] * 10
    for data in (grey, colour):
        assert pixels(develop(data))[0].tolist() == [[value] * 3 for value in expected]


def test_transparency_shows_white_paper_and_in_a_mask_black(develop: Develop) -> None:
    clear = Image.new("RGBA", (16, 16), (200, 0, 0, 0))
    half = Image.new("LA", (16, 16), (0, 128))
    assert pixels(develop(pictures.saved(clear)))[0, 0].tolist() == [255, 255, 255]
    assert pixels(develop(pictures.saved(half)))[0, 0].tolist() == [127, 127, 127]
    assert pixels(develop(pictures.saved(clear), "L"))[0, 0] == 0


def test_palettes_grey_and_single_bits(develop: Develop) -> None:
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    bits = Image.new("1", (16, 16), 1)
    grey = Image.new("L", (16, 16), 77)
    assert pixels(develop(pictures.saved(palette)))[0, 0].tolist() == [10, 20, 30]
    assert pixels(develop(pictures.saved(palette, transparency=1)))[0, 0].tolist() == [255, 255, 255]
    assert pixels(develop(pictures.saved(grey, transparency=77)))[0, 0].tolist() == [255, 255, 255]
    assert pixels(develop(pictures.saved(bits)))[0, 0].tolist() == [255, 255, 255]
    assert pixels(develop(pictures.saved(bits), "L"))[0, 0] == 255
    assert pixels(develop(pictures.saved(grey)))[0, 0].tolist() == [77, 77, 77]


@pytest.mark.parametrize(
    ("ink", "colour"),
    [((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0)), ((0, 0, 0, 0), (255, 255, 255))],
)
def test_cmyk_jpegs_have_the_colours_of_their_inks(
    develop: Develop, ink: tuple[int, ...], colour: tuple[int, ...]
) -> None:
    found = pixels(develop(pictures.saved(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)))[8, 8]
    assert np.abs(found.astype(int) - colour).max() <= 3


def test_an_embedded_profile_is_applied(develop: Develop) -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    found = pixels(develop(pictures.saved(red, icc_profile=pictures.swapped_profile())))[0, 0]
    assert np.abs(found.astype(int) - [0, 0, 255]).max() <= 4


@pytest.mark.parametrize("profile", [b"rubbish", pictures.swapped_profile()[:200]])
def test_a_broken_profile_is_ignored(develop: Develop, profile: bytes) -> None:
    assert np.array_equal(pixels(develop(pictures.still(icc_profile=profile))), pictures.speckled())


def test_a_profile_of_another_colour_space_is_ignored(develop: Develop) -> None:
    grey = Image.new("L", (16, 16), 77)
    data = pictures.saved(grey, icc_profile=pictures.swapped_profile())
    assert pixels(develop(data))[0, 0].tolist() == [77, 77, 77]


def test_of_two_views_the_first_is_taken(develop: Develop) -> None:
    assert pixels(develop(pictures.two_views()))[8, 8].tolist() == [254, 0, 0]


def test_what_lies_behind_a_picture_is_left_behind(develop: Develop) -> None:
    assert b"CANARY" not in develop(pictures.zipped_behind()).png


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(develop: Develop, kind: str) -> None:
    assert refusal(develop, pictures.animated(kind)) == "is animated; send a still picture"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (15, 16)])
def test_too_small(develop: Develop, width: int, height: int) -> None:
    data = pictures.saved(Image.new("RGB", (width, height)))
    assert refusal(develop, data) == f"must be at least 16 pixels wide and high, not {width}x{height}"


def test_too_many_pixels_are_refused_on_the_header_alone(develop: Develop) -> None:
    bomb = pictures.one_bit_bomb()
    develop(pictures.still())
    begin = time.perf_counter()
    assert refusal(develop, bomb).startswith("must have at most 1000000 pixels")
    assert time.perf_counter() - begin < 60
    assert len(bomb) < 100_000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_too_many_pixels_in_every_format(develop: Develop, kind: str) -> None:
    data = pictures.saved(Image.new("RGB", (1001, 1000)), kind)
    assert refusal(develop, data) == "must have at most 1000000 pixels, not 1001x1000"
    huge = pictures.saved(Image.new("RGB", (4000, 1000)), kind)
    assert refusal(develop, huge).startswith("must have at most 1000000 pixels")


def test_a_bomb_costs_little_memory(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(pictures.one_bit_bomb())
    program = """
import resource, sys
from pathlib import Path
from safelight.service.decode import Limits, develop
data, before = Path(sys.argv[1]).read_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    develop(data, "RGB", Limits(10**6, 16, 10, 30))
except Exception as refused:
    print(type(refused).__name__, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "bomb.png")]
    name, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert name in ("Invalid", "DecompressionBombError")
    assert int(kilobytes) < 20_000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_cut_short_anywhere_is_refused(develop: Develop, kind: str) -> None:
    data = pictures.still(kind)
    for sixteenth in range(1, 16):
        assert refusal(develop, data[: len(data) * sixteenth // 16]) == "is damaged or cut short"


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_bombs_in_text_and_profiles_do_no_harm(develop: Develop, kind: bytes) -> None:
    begin = time.perf_counter()
    assert sentence_or_black(develop, pictures.text_bomb(kind)) in ("black", "is damaged or cut short")
    assert time.perf_counter() - begin < 60


def sentence_or_black(develop: Develop, data: bytes) -> str:
    try:
        return "black" if pixels(develop(data)).max() == 0 else "colourful"
    except Invalid as invalid:
        return invalid.rule


def test_very_many_chunks(develop: Develop) -> None:
    assert pixels(develop(pictures.many_chunks())).max() == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_flipped_bytes_give_a_picture_or_a_sentence(develop: Develop, kind: str) -> None:
    random = np.random.default_rng(7)
    for _ in range(40):
        data = bytearray(pictures.still(kind))
        for place in random.integers(8, len(data), 3):
            data[place] = int(random.integers(0, 256))
        outcome = sentence_or_black(develop, bytes(data))
        assert outcome.startswith(("colourful", "is damaged", "must ", "is animated", "takes too much"))


def test_many_at_once(room: Darkroom) -> None:
    async def all_of_them() -> list[Bitmap]:
        return await asyncio.gather(*(room.develop(pictures.still(), "RGB") for _ in range(40)))

    assert len({bitmap.sha256 for bitmap in asyncio.run(all_of_them())}) == 1


def test_a_child_out_of_memory_fails_alone(develop: Develop) -> None:
    assert refusal(develop, pictures.SIGNATURE + bytes(200_000_000)) == "takes too much time or memory to decode"
    assert np.array_equal(pixels(develop(pictures.still())), pictures.speckled())


def test_a_child_out_of_time_fails_alone() -> None:
    room = Darkroom(max_pixels=1_000_000, min_side=16, cpu_seconds=1)
    try:
        with pytest.raises(Invalid) as caught:
            asyncio.run(room.develop(pictures.many_scans(), "RGB"))
        assert caught.value.rule == "takes too much time or memory to decode"
        assert asyncio.run(room.develop(pictures.still(), "RGB")).width == 48
    finally:
        room.close()


def test_a_killed_child_fails_alone_and_a_killed_program_is_replaced() -> None:
    async def story(room: Darkroom) -> None:
        program = await started(room)
        victim = asyncio.create_task(room.develop(pictures.saved(Image.new("RGB", (4000, 4000))), "RGB"))
        psutil.Process(await asyncio.to_thread(waiting_child, program)).kill()
        with pytest.raises(Invalid, match="takes too much time or memory"):
            await victim
        os.kill(program, signal.SIGKILL)
        await asyncio.to_thread(psutil.wait_procs, [psutil.Process(program)], 0.2)
        assert (await room.develop(pictures.still(), "RGB")).width == 48
        assert await started(room) != program

    room = Darkroom(max_pixels=16_000_000, min_side=16, cpu_seconds=10)
    try:
        asyncio.run(story(room))
    finally:
        room.close()


async def started(room: Darkroom) -> int:
    await room.develop(pictures.still(), "RGB")
    assert room._program is not None
    return room._program._process.pid


def test_a_program_that_hangs_costs_a_picture_its_time_and_no_more() -> None:
    room = Darkroom(max_pixels=1_000_000, min_side=16, cpu_seconds=0.1)
    program = asyncio.run(started(room))
    os.kill(program, signal.SIGSTOP)
    begin = time.perf_counter()
    try:
        with pytest.raises(Invalid, match="takes too much time or memory"):
            asyncio.run(room.develop(pictures.still(), "RGB"))
        assert not psutil.pid_exists(program)
        assert asyncio.run(room.develop(pictures.still(), "RGB")).width == 48
    finally:
        room.close()
    assert time.perf_counter() - begin < 60


def test_a_program_that_cannot_start_is_the_servers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    room = Darkroom(max_pixels=1_000_000, min_side=16, cpu_seconds=10)
    with pytest.raises(Unavailable):
        asyncio.run(room.develop(pictures.still(), "RGB"))


@pytest.mark.parametrize("reply", [b"+", b"+" + bytes(11), b"+" + bytes(11) + b"\5" + b"four"])
def test_a_child_stopped_in_mid_answer_gave_no_picture(reply: bytes) -> None:
    with pytest.raises(Invalid, match="takes too much time or memory"):
        darkroom_module._read(reply)


def test_under_the_event_loop_of_production() -> None:
    room = Darkroom(max_pixels=16_000_000, min_side=16, cpu_seconds=10)
    data = pictures.saved(Image.fromarray(pictures.speckled(1200, 900)))
    try:
        assert np.array_equal(pixels(uvloop.run(room.develop(data, "RGB"))), pictures.speckled(1200, 900))
    finally:
        room.close()


def test_a_child_may_open_nothing_start_nothing_and_is_nobody() -> None:
    room = Darkroom(max_pixels=16_000_000, min_side=16, cpu_seconds=10)
    program = asyncio.run(started(room))
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs:
            assert room._program is not None
            socket.send_fds(room._program._control, [b"!"], [theirs.fileno()])
            child = waiting_child(program)
            limits = Path(f"/proc/{child}/limits").read_text()
            for name in ("Max open files", "Max processes", "Max file size", "Max core file size"):
                assert next(line for line in limits.splitlines() if line.startswith(name)).split()[-3:-1][0] == "0"
            assert "Max address space         unlimited" not in limits
            assert os.geteuid() != 0 or psutil.Process(child).uids().effective == 65534
            assert sorted(Path(f"/proc/{child}/fd").iterdir())[0].name != "0"
    finally:
        room.close()


def waiting_child(program: int) -> int:
    """The child once it has confined itself, which it does before it reads a byte."""
    for _ in range(1000):
        for child in psutil.Process(program).children():
            if "Max open files            0" in Path(f"/proc/{child.pid}/limits").read_text():
                return int(child.pid)
        time.sleep(0.01)
    raise AssertionError("no confined child")


def test_the_program_ends_with_its_owner() -> None:
    room = Darkroom(max_pixels=1_000_000, min_side=16, cpu_seconds=10)
    program = psutil.Process(asyncio.run(started(room)))
    assert "SECRET" not in "".join(program.environ().values())
    room.close()
    assert not program.is_running()


def test_secrets_of_the_environment_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_DATABASE_URL", "postgresql://user:CANARY@host/name")
    room = Darkroom(max_pixels=1_000_000, min_side=16, cpu_seconds=10)
    try:
        environment = psutil.Process(asyncio.run(started(room))).environ()
    finally:
        room.close()
    assert not [value for value in environment.values() if "CANARY" in value]


def test_both_sides_agree_on_the_header() -> None:
    assert darkroom_module._HEADER.format == decode.HEADER.format
