"""How good is a checkpoint? Five questions with a number each, against floors and a ceiling.

    python -m training.evaluate --model src/safelight/model --work run/training

agreement  is the prompt's noun the best of 20 for the picture, says a judge trained on the real sprites alone?
colour     is the border of the picture nearest to the asked background colour, of the palette's twelve?
place      is a lone object in the asked half; are two objects each on their asked side?
edges      how steep are the steepest edges, of what white beside black would be?
img2img    is the start's layout kept at low strength, and is a new prompt obeyed at high strength?

Floors are the untrained image model and the mean of the real pictures; the ceiling is real sprites composited as
asked.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from torch.nn import functional

from training import judge, nouns, photographs, pictures
from training.dataset import Scene, Sprites
from training.nouns import article
from training.pictures import Pipeline

AMONG, STEPS = 20, 20
PLAIN = " on a white background"  # so that what is not background can be told from it
Maker = Callable[[Sequence[Scene]], Tensor]  # scenes, of which a generator reads the captions only, to (n, 3, s, s)


@dataclass(frozen=True)
class Score:
    agreement: float
    colour: float
    place: float
    pair: float
    edges: float


def ask(
    sprites: Sprites, caption: str, noun: str, layout: str = "centre", background: str = "", other: str | None = None
) -> Scene:
    """A scene that means what its caption says, so that the ceiling can draw it."""
    random = Random(caption)
    colour = tuple(c / 255 for c in nouns.COLOURS[background or "white"])
    second = None if other is None else sprites.by_noun[other][0]
    return Scene(
        random.choice(sprites.by_noun[noun]), second, layout, background or "white", caption, (colour, colour, 0.0, 1.0)
    )


def agreement_scenes(sprites: Sprites) -> list[Scene]:
    return [ask(sprites, article(noun), noun) for noun in sprites.names]


def colour_scenes(sprites: Sprites) -> list[Scene]:
    random = Random(1)
    chosen = [(random.choice(sprites.names), colour) for colour in nouns.COLOURS for _ in range(4)]
    return [
        ask(sprites, f"{article(noun)} on {article(colour)} background", noun, background=colour)
        for noun, colour in chosen
    ]


def place_scenes(sprites: Sprites) -> list[Scene]:
    random = Random(2)
    return [
        ask(sprites, f"{article(noun)} on the {side}{PLAIN}", noun, side)
        for noun in random.sample(sprites.names, 20)
        for side in ("left", "right")
    ]


def pair_scenes(sprites: Sprites) -> list[Scene]:
    random = Random(3)
    pairs = [random.sample(sprites.names, 2) for _ in range(40)]
    return [
        ask(sprites, f"{article(a)} on the left, {article(b)} on the right{PLAIN}", a, "pair", other=b)
        for a, b in pairs
    ]


def agreement(net: judge.Judge, made: Tensor, wanted: Sequence[str], among: Sequence[str], seed: int = 0) -> float:
    """Share of pictures whose own noun ranks first among itself and 19 others drawn by chance."""
    random, right = Random(seed), 0
    with torch.inference_mode():
        logits = net(made)
    for row, noun in zip(logits, wanted, strict=True):
        own = net.names.index(noun)
        others = [net.names.index(n) for n in random.sample([n for n in among if n != noun], AMONG - 1)]
        right += int(row[own] > row[others].max())
    return right / len(wanted)


def border(made: Tensor, wide: int = 6) -> Tensor:
    """(n, 3): the median colour of the frame."""
    frame = torch.cat(
        [made[..., :wide, :].flatten(2), made[..., :, :wide].flatten(2), made[..., :, -wide:].flatten(2)], -1
    )
    return frame.median(-1).values


def colour(made: Tensor, wanted: Sequence[str]) -> float:
    palette = torch.tensor(list(nouns.COLOURS.values())) / 127.5 - 1
    nearest = torch.cdist(border(made), palette).argmin(1).tolist()
    names = list(nouns.COLOURS)
    hits: int = sum(names[i] == w for i, w in zip(nearest, wanted, strict=True))
    return hits / len(wanted)


def place(made: Tensor, wanted: Sequence[str]) -> float:
    """Where is the centre of all that differs from the frame?"""
    differs = ((made - border(made)[:, :, None, None]).abs().amax(1) > 0.35).float()
    across = torch.linspace(-1, 1, made.shape[-1])
    centre = (differs * across).sum((1, 2)) / differs.sum((1, 2)).clamp(min=1)
    pairs = zip(centre.tolist(), wanted, strict=True)
    hits: int = sum(c < -0.1 if side == "left" else c > 0.1 for c, side in pairs)
    return hits / len(wanted)


def edges(made: Tensor) -> float:
    """The mean of the steepest fiftieth of the differences between neighbours: a soft picture has none that are steep."""
    light = made.mean(1)
    steps = torch.cat([light.diff(dim=1).abs().flatten(1), light.diff(dim=2).abs().flatten(1)], 1) / 2
    return float(steps.topk(steps.shape[1] // 50).values.mean())


def sides(net: judge.Judge, made: Tensor, wanted: Sequence[tuple[str, str]]) -> float:
    """Share of pictures in which each half, seen alone, agrees better with its own noun than with the other half's."""
    side = made.shape[-1]
    halves = made[..., side // 5 : side // 5 + side // 2 + side // 8, :]
    with torch.inference_mode():
        left, right = net(halves[..., : side // 2]), net(halves[..., side // 2 :])
    hits = 0
    for row, (a, b) in enumerate(wanted):
        i, j = net.names.index(a), net.names.index(b)
        hits += int(left[row, i] > left[row, j] and right[row, j] > right[row, i])
    return hits / len(wanted)


def score(net: judge.Judge, sprites: Sprites, make: Maker) -> Score:
    def noun(index: int | None) -> str:
        return sprites.sprites[index or 0].noun

    plain, tinted, placed, paired = (
        agreement_scenes(sprites),
        colour_scenes(sprites),
        place_scenes(sprites),
        pair_scenes(sprites),
    )
    seen = make(tinted)
    return Score(
        agreement(net, make(plain), [noun(s.sprite) for s in plain], sprites.names),
        colour(seen, [s.background for s in tinted]),
        place(make(placed), [s.layout for s in placed]),
        sides(net, make(paired), [(noun(s.sprite), noun(s.other)) for s in paired]),
        edges(seen),
    )


def layout_kept(made: Tensor, start: Tensor) -> float:
    """Mean correlation of 16x16 averages: is what was light, dark and coloured still so, and still there?"""
    small = [functional.adaptive_avg_pool2d(t, 16).flatten(1) for t in (made, start)]
    centred = [t - t.mean(1, keepdim=True) for t in small]
    return float(functional.cosine_similarity(centred[0], centred[1]).mean())


def img2img(net: judge.Judge, sprites: Sprites, pipeline: Pipeline, count: int = 48) -> dict[str, dict[str, float]]:
    """Real composites of one thing, asked to become another."""
    random = Random(4)
    starts = [replace(sprites.scene(random), other=None, layout="centre") for _ in range(count)]
    wanted = [random.choice([n for n in sprites.names if n != sprites.sprites[s.sprite].noun]) for s in starts]
    given = sprites.draw(starts, random)
    swapped = given.roll(1, 0)
    table = {}
    for strength in pictures.STRENGTHS:
        made = pictures.to_tensor(
            pictures.from_picture(
                pipeline, [article(w) for w in wanted], pictures.to_pictures(given), strength, steps=STEPS
            )
        )
        table[str(strength)] = {
            "layout_kept": layout_kept(made, given),
            "layout_of_another_start": layout_kept(made, swapped),
            "new_prompt_first_of_20": agreement(net, made, wanted, sprites.names),
            "old_object_first_of_20": agreement(
                net, made, [sprites.sprites[s.sprite].noun for s in starts], sprites.names
            ),
        }
    return table


def generator(pipeline: Pipeline, side: int) -> Maker:
    return lambda scenes: pictures.to_tensor(
        pictures.from_text(pipeline, [s.caption for s in scenes], side, steps=STEPS)
    )


def untrained(pipeline: Pipeline, side: int) -> Maker:
    torch.manual_seed(0)
    fresh = type(pipeline.unet).from_config(pipeline.unet.config).eval()
    return generator(pictures.assemble(StableDiffusionPipeline, {**pipeline.components, "unet": fresh}), side)


def real(sprites: Sprites) -> Maker:
    return lambda scenes: sprites.draw(list(scenes), Random(5))


def mean_picture(sprites: Sprites) -> Maker:
    mean = sprites.batch(256, Random(6))[0].mean(0, keepdim=True)
    return lambda scenes: mean.expand(len(scenes), -1, -1, -1)


def through_autoencoder(sprites: Sprites, pipeline: Pipeline) -> Maker:
    """The real pictures, encoded and decoded: the best that any image model could do with this autoencoder."""

    def make(scenes: Sequence[Scene]) -> Tensor:
        drawn = real(sprites)(scenes)
        with torch.inference_mode():
            parts = [
                pipeline.vae.decode(pipeline.vae.encode(p).latent_dist.mean).sample for p in torch.split(drawn, 16)
            ]
        return torch.cat(parts).clamp(-1, 1)

    return make


def squares(folder: Path, side: int) -> Tensor:
    """The middle of each photograph, made small: (n, 3, side, side) in [-1, 1]."""
    found = []
    for _, photograph in photographs.read(folder):
        wide = min(photograph.shape[1:])
        top, left = ((extent - wide) // 2 for extent in photograph.shape[1:])
        square = photograph[None, :, top : top + wide, left : left + wide].float() / 127.5 - 1
        found.append(functional.interpolate(square, (side, side), mode="bilinear", antialias=True))
    return torch.cat(found)


def autoencoder_psnr(drawn: Tensor, pipeline: Pipeline) -> float:
    with torch.inference_mode():
        made = torch.cat(
            [pipeline.vae.decode(pipeline.vae.encode(p).latent_dist.mean).sample for p in torch.split(drawn, 16)]
        )
    return float(-10 * torch.log10((made.clamp(-1, 1) - drawn).square().mean() / 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("src/safelight/model"))
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--photographs", type=Path, help="photographs that it never saw, for the autoencoder")
    parser.add_argument("--work", type=Path, default=Path("run/training"), help="where the judge is kept")
    parser.add_argument("--judge-minutes", type=float, default=5.0)
    parser.add_argument("--alone", action="store_true", help="the checkpoint without floors and ceiling: half the time")
    parser.add_argument("--out", type=Path, default=Path("run/training/scores.json"))
    options = parser.parse_args()
    pipeline = pictures.load(options.model)
    side = pipeline.unet.config.sample_size * 8
    known = json.loads((options.model / "safelight.json").read_text())["nouns"]
    net = judge.train(Sprites(options.data, judge.SIDE), options.work, options.judge_minutes)
    sprites = Sprites(options.data, side, known)
    makers = {
        "mean picture (floor)": mean_picture(sprites),
        "untrained (floor)": untrained(pipeline, side),
        "this checkpoint": generator(pipeline, side),
        "real, through the autoencoder": through_autoencoder(sprites, pipeline),
        "real sprites (ceiling)": real(sprites),
    }
    chosen = ["this checkpoint"] if options.alone else list(makers)
    rows = {name: score(net, sprites, makers[name]) for name in chosen}
    strengths = img2img(net, sprites, pipeline)
    psnr = {"composites": autoencoder_psnr(sprites.batch(64, Random(8))[0], pipeline)}
    if options.photographs:
        psnr["photographs"] = autoencoder_psnr(squares(options.photographs, side), pipeline)
    result = {
        "text2img": {n: s.__dict__ for n, s in rows.items()},
        "img2img": strengths,
        "autoencoder_psnr": psnr,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(table(rows, strengths, psnr))


def table(rows: dict[str, Score], strengths: dict[str, dict[str, float]], psnr: dict[str, float]) -> str:
    lines = [
        "| pictures | prompt first of 20 | background colour | left or right | both sides right | edges |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {s.agreement:.0%} | {s.colour:.0%} | {s.place:.0%} | {s.pair:.0%} | {s.edges:.2f} |"
        for name, s in rows.items()
    ]
    lines += [
        "",
        "| strength | layout kept | (layout of another start) | new prompt first of 20 | old object first of 20 |",
        "|---|---|---|---|---|",
    ]
    for strength, s in strengths.items():
        lines.append(
            f"| {strength} | {s['layout_kept']:.2f} | {s['layout_of_another_start']:.2f} "
            f"| {s['new_prompt_first_of_20']:.0%} | {s['old_object_first_of_20']:.0%} |"
        )
    decibels = ", ".join(f"{number:.1f} dB on {of}" for of, number in psnr.items())
    return "\n".join([*lines, "", f"autoencoder: {decibels}"])


if __name__ == "__main__":
    main()
