"""Prompts whose words are weighed: the examples of the web UI's own documentation, and its arithmetic done by hand."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from safelight.engine.emphasis import parse, pieces
from safelight.engine.generation import Generation
from safelight.engine.graphs import Graphs
from safelight.engine.model import Model
from safelight.engine.rows import Rows

from .gallery import changed_by_company
from .oracle import by_engine, distance

LONG = "a red cat of a dog, " * 20
ASKED = Generation("a (red:1.5) cat [of] dog", "a dog", width=64, height=64, steps=3, seed=4, weighed=True)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0), ("house", 1.573), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55),
                (", sun, ", 1.1), ("sky", 1.4641), (".", 1.1),
            ],
        ),
        ("a :1.2) ratio of 4:3", [("a :1.2) ratio of 4:3", 1.0)]),
        ("", [("", 1.0)]),
    ],
)  # fmt: skip
def test_brackets_weigh_as_they_do_there(prompt: str, said: list[tuple[str, float]]) -> None:
    found = parse(prompt)
    assert [text for text, _ in found] == [text for text, _ in said]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in said])


def test_pieces_end_where_they_are_full_at_a_comma_shortly_before_or_at_a_break() -> None:
    letters = {",": 44, **{letter: ord(letter) for letter in "abcdefgh"}}

    def split(prompt: str, room: int = 6) -> list[str]:
        found = pieces(prompt, lambda text: [letters[each] for each in text if each in letters], 44, room)
        return ["".join(chr(token.id) for token in piece) for piece in found]

    assert split("a b c d e f g") == ["abcdef", "g"]
    assert split("a b, c d e f") == ["ab,", "cdef"]
    assert split("a b c d e f, g") == ["abcdef", ",g"]
    assert split("a b BREAK c") == ["ab", "c"]
    assert split("") == [""]
    assert split(", " + "a " * 30, room=28) == ["," + "a" * 27, "aaa"]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_embeddings_are_those_of_the_arithmetic_by_hand(kind: str, request: pytest.FixtureRequest) -> None:
    """Each piece through transformers' own model, each token times its weight, the mean put back."""
    folder: Path = request.getfixturevalue(kind)
    model = Model.load(folder)
    ours = model.encode_text([ASKED.prompt], pieces=2)[0].embedding
    assert (
        distance(ours, by_hand(folder, kind, [("a", 1.0), ("red", 1.5), ("cat", 1.0), ("of", 1 / 1.1), ("dog", 1.0)]))
        < 1e-5
    )


def by_hand(folder: Path, kind: str, words: list[tuple[str, float]]) -> Tensor:
    """Of one piece, and an empty one after it."""
    pipeline: Any = pipeline_of(folder, kind)
    answers = []
    for tokenizer, encoder in (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")):
        if getattr(pipeline, encoder, None) is None:
            continue
        read = getattr(pipeline, tokenizer)
        tokens = [(each, weight) for word, weight in words for each in read(word, add_special_tokens=False).input_ids]
        rows = []
        for piece in (tokens, []):
            ids = [read.bos_token_id, *(each for each, _ in piece), read.eos_token_id]
            ids += [read.pad_token_id] * (77 - len(ids))
            said = getattr(pipeline, encoder)(torch.tensor([ids]), output_hidden_states=True)
            hidden = said.hidden_states[-2] if kind == "sdxl" else said.last_hidden_state
            weights = torch.tensor([1.0, *(weight for _, weight in piece), *[1.0] * (76 - len(piece))])
            rows.append(hidden[0] * weights[:, None] * (hidden.mean() / (hidden[0] * weights[:, None]).mean()))
        answers.append(torch.cat(rows))
    return torch.cat(answers, dim=-1)


def pipeline_of(folder: Path, kind: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = "StableDiffusionXLPipeline" if kind == "sdxl" else "StableDiffusionPipeline"
        return getattr(diffusers, name).from_pretrained(folder)


@torch.no_grad()
def test_a_long_prompt_is_drawn_as_the_pipeline_draws_its_embeddings(sd1: Path) -> None:
    model, asked = Model.load(sd1), replace(ASKED, prompt=LONG)
    read = [model.encode_text([prompt], pieces=2)[0].embedding[None] for prompt in (LONG, ASKED.negative_prompt)]
    assert read[0].shape == (1, 2 * 77, 64)
    pipeline = pipeline_of(sd1, "sd1")
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(
        prompt_embeds=read[0], negative_prompt_embeds=read[1], height=64, width=64, num_inference_steps=asked.steps,
        generator=[torch.Generator().manual_seed(asked.seed)], output_type="latent",
    ).images[0]  # fmt: skip
    assert distance(by_engine(model, [asked])[0], drawn) < 1e-4
    assert distance(by_engine(model, [replace(asked, weighed=False)])[0], drawn) > 1e-3


@pytest.mark.parametrize("openvino", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["torch", "openvino"])
def test_long_and_weighed_prompts_are_exact_in_company(sd1: Path, traced: Path, openvino: bool) -> None:
    model = Model.load(sd1, openvino=openvino, kept=traced)
    rows = Rows(Graphs(), 4, exact=True)
    company = [ASKED, replace(ASKED, prompt=LONG), replace(ASKED, weighed=False), replace(ASKED, prompt=LONG, seed=9)]
    assert changed_by_company(model, rows, company) == []


def test_without_brackets_a_short_prompt_keeps_its_bits(sd1: Path) -> None:
    model, plain = Model.load(sd1), replace(ASKED, prompt="a red cat", steps=2)
    assert torch.equal(by_engine(model, [plain])[0], by_engine(model, [replace(plain, weighed=False)])[0])
