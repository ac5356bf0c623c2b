"""The commands ``safelight edit ...``: parse, call, print. Torch is loaded when one of them is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safelight.settings import read_settings
from safelight.terminal import Model, out, progress_bar

edit = typer.Typer(
    no_args_is_help=True, help="Enlarge a picture, remove its background or paint it on, without a server."
)

Picture = Annotated[Path, typer.Argument(help="The picture (PNG, JPEG or WebP).")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")]


@edit.command()
def upscale(
    picture: Picture,
    output: Output = Path("upscaled.png"),
    scale: Annotated[float, typer.Option(min=1, max=8, help="How many times as wide and high.")] = 4,
    upscaler: Annotated[str, typer.Option(help="One of SAFELIGHT_UPSCALERS. Default: the bundled one.")] = "",
) -> None:
    """Make a picture larger, by a network."""
    from safelight import handwork

    with progress_bar() as progress:
        task = progress.add_task("enlarging", total=None)
        handwork.upscale(
            read_settings(), picture, output, scale, upscaler,
            lambda step, of: progress.update(task, completed=step, total=of),
        )  # fmt: skip
    out.print(str(output), soft_wrap=True)


@edit.command()
def removebg(
    picture: Picture,
    output: Output = Path("cut-out.png"),
    segmenter: Annotated[str, typer.Option(help="One of SAFELIGHT_SEGMENTERS. Default: the first, or GrabCut.")] = "",
    matting: Annotated[bool, typer.Option(help="Soft edges, hair for example.")] = True,
    only_mask: Annotated[bool, typer.Option("--only-mask", help="The mask alone.")] = False,
) -> None:
    """Make a picture's background transparent."""
    from safelight import handwork
    from safelight.engine.matting import Cut

    with progress_bar() as progress:
        task = progress.add_task("cutting out", total=1)
        cut = Cut(only_mask=only_mask, matting=matting)
        note = handwork.remove_background(read_settings(), picture, output, segmenter, cut)
        progress.update(task, completed=1)
    out.print(f"{output}  {note}".rstrip(), soft_wrap=True)


@edit.command()
def outpaint(
    picture: Picture,
    output: Output = Path("outpainted.png"),
    prompt: Annotated[str, typer.Option(help="What the whole shows.")] = "high quality",
    width: Annotated[int, typer.Option(min=64)] = 768,
    height: Annotated[int, typer.Option(min=64)] = 512,
    overlap: Annotated[int, typer.Option(min=0, max=200, help="Pixels that are painted over inside.")] = 10,
    steps: Annotated[int, typer.Option(min=1, max=1000)] = 30,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    model: Model = None,
) -> None:
    """Paint a picture on beyond its edges."""
    from safelight import handwork

    settings = read_settings(model=model)
    guidance = handwork.wants(settings).guidance_scale
    wanted = {
        "prompt": prompt, "width": width, "height": height, "steps": steps, "seed": seed, "guidance_scale": guidance,
    }  # fmt: skip
    with progress_bar() as progress:
        task = progress.add_task("loading the model", total=None)
        seconds = handwork.outpaint(
            settings, picture, output, overlap, wanted,
            lambda step, of: progress.update(task, description="denoising", completed=step, total=of),
        )  # fmt: skip
    out.print(f"{output}  ({seconds:.1f} s on the engine, seed {seed})", soft_wrap=True)
