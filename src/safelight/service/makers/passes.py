"""A picture in two passes: a draft first, which is then enlarged and drawn over with the seed that it was made with.

Knows nothing of engines: whoever runs one generation is handed in.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

from safelight.engine.generation import Generation, Picture, Progress, Result
from safelight.records import Draft
from safelight.service.makers.framing import framed

Listen = Callable[[Progress], None]
Run = Callable[[Generation, Listen], Awaitable[Result]]


async def in_two_passes(run: Run, generation: Generation, draft: Draft, listen: Listen) -> Result:
    """In one, where the draft turns out to be as large as the whole. Its steps are those of the first pass."""
    first = await run(replace(generation, width=draft.width, height=draft.height, modest=draft.modest), listen)
    if (draft.width, draft.height) == (generation.width, generation.height) and not first.modest:
        return first
    begun = first.steps

    def further(progress: Progress) -> None:
        listen(replace(progress, step=begun + progress.step, steps=begun + progress.steps))

    over = [await asyncio.to_thread(_over, generation, draft, picture) for picture in first.pictures]
    made = await asyncio.gather(*(run(each, further if each is over[0] else _unheard) for each in over))
    pictures = tuple(picture for result in made for picture in result.pictures)
    seconds = first.seconds + max(result.seconds for result in made)
    return replace(first, pictures=pictures, seconds=seconds, native_size=made[0].native_size)


def _over(generation: Generation, draft: Draft, picture: Picture) -> Generation:
    pixels, _ = framed(picture.pixels, None, generation.width, generation.height, "crop")
    return replace(
        generation,
        init_image=pixels,
        seed=picture.seed,
        samples=1,
        steps=draft.steps,
        strength=max(draft.strength, math.nextafter(1 / draft.steps, 1)),  # one step is run at least
    )


def _unheard(_progress: Progress) -> None:
    """They all come along together; one of them is listened to."""
