"""Stage two: the text encoder (a CLIPTextModel), from random weights in a few minutes.

Two teachers at once. A sentence model's vectors (made once, by `teacher.py`) place words near their synonyms; the
captions themselves teach what must not be mixed up: which object, where, in which style, on which background.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTokenizer

from training import networks, nouns
from training.checkpoint import Run, cosine, report, set_rate
from training.dataset import LAYOUTS, Scene, Sprites
from training.networks import LENGTH, Network
from training.pace import Pace
from training.sizes import Size

TRIM = 32  # tokens that training looks at: captions are shorter


class Questions(nn.Module):
    """What a caption must tell: asked of the state at its end."""

    def __init__(self, width: int, sprites: Sprites, directions: int) -> None:
        super().__init__()
        self.names = ["", *sprites.names]
        self.styles = sorted(nouns.STYLES.values())
        self.backgrounds = ["", *nouns.COLOURS, *nouns.SCENES]
        answers = [len(self.names), len(self.names), len(self.styles) + 1, len(self.backgrounds), len(LAYOUTS)]
        self.heads = nn.ModuleList(nn.Linear(width, count) for count in answers)
        self.teacher = nn.Linear(width, directions)

    def answers(self, scene: Scene, sprites: Sprites) -> list[int]:
        first = sprites.sprites[scene.sprite]
        other = sprites.sprites[scene.other].noun if scene.other is not None else ""
        told = self.styles.index(first.style) + 1 if f"{first.style} style" in scene.caption else 0
        return [
            self.names.index(first.noun),
            self.names.index(other),
            told,
            self.backgrounds.index(scene.background),
            LAYOUTS.index(scene.layout),
        ]

    def loss(self, states: Tensor, answers: Tensor) -> Tensor:
        return torch.stack(
            [functional.cross_entropy(head(states), answers[:, i]) for i, head in enumerate(self.heads)]
        ).sum()


class Captions:
    """Captions with their answers, tokenised once."""

    def __init__(self, sprites: Sprites, tokenizer: CLIPTokenizer, questions: Questions, count: int, seed: int) -> None:
        random = Random(seed)
        scenes = [sprites.scene(random) for _ in range(count)]
        self.tokens = tokenize(tokenizer, [s.caption for s in scenes], TRIM)
        self.answers = torch.tensor([questions.answers(s, sprites) for s in scenes])


class Sentences:
    """Sentences with the teacher's vectors; the vectors of single tokens start the embedding table."""

    def __init__(self, folder: Path, tokenizer: CLIPTokenizer) -> None:
        stored = np.load(folder / "teacher.npz")
        self.vectors = functional.normalize(torch.from_numpy(stored["sent"].astype(np.float32)), dim=-1)
        self.pieces = functional.normalize(torch.from_numpy(stored["tok"].astype(np.float32)), dim=-1)
        self.tokens = tokenize(tokenizer, json.loads((folder / "teacher_text.json").read_text()), TRIM)


def tokenize(tokenizer: CLIPTokenizer, texts: list[str], length: int = LENGTH) -> Tensor:
    return torch.tensor(tokenizer(texts, padding="max_length", truncation=True, max_length=length).input_ids)


def start_embeddings(net: Network, pieces: Tensor) -> None:
    """The token table from the principal directions of the teacher's vectors of each token's text."""
    width = net.config.hidden_size
    centred = pieces - pieces.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    table = centred @ axes[:width].T
    embedding = net.get_input_embeddings().weight
    with torch.no_grad():
        embedding[: len(table), : table.shape[1]] = table * (0.3 / table.std())


def end_states(net: Network, tokens: Tensor, later: int = 0) -> Tensor:
    """The state at the end of each text, or `later` places after it (padding is read by the image model as well)."""
    ends = (tokens == net.config.eos_token_id).int().argmax(1)
    longest = min(int(ends.max()) + later + 1, tokens.shape[1])
    states: Tensor = net(tokens[:, :longest]).last_hidden_state.float()
    return states[torch.arange(len(tokens)), (ends + later).clamp(max=longest - 1)]


def train(
    sprites: Sprites, data: Path, size: Size, work: Path, minutes: float, device: torch.device, seed: int = 0
) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(data / "tokenizer")
    net = networks.text_encoder(size, len(tokenizer)).to(device).train()
    sentences = Sentences(data, tokenizer)
    questions = Questions(size.text, sprites, sentences.vectors.shape[1]).to(device)
    captions = Captions(sprites, tokenizer, questions, size.captions, seed)
    start_embeddings(net, sentences.pieces)
    optimiser = torch.optim.AdamW(
        [*net.parameters(), *questions.parameters()], lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01
    )
    pace = Pace()
    run = Run(work / "text.pt", minutes, 60, net=net, questions=questions, optimiser=optimiser)
    while (share := run.share) < 1:
        set_rate(optimiser, 1e-3 * run.warmth(100) * cosine(share))
        pace.step()
        some, others = (torch.randint(0, len(t), (size.text_batch,)) for t in (captions.tokens, sentences.tokens))
        states = end_states(net, captions.tokens[some].to(device), later=run.step % 3)
        asked = questions.loss(states, captions.answers[some].to(device))
        said = functional.normalize(questions.teacher(end_states(net, sentences.tokens[others].to(device))), dim=-1)
        truth = sentences.vectors[others].to(device)
        alike = (said * truth).sum(-1).mean()
        total = asked + 2 * (1 - alike) + 4 * functional.mse_loss(said @ said.T, truth @ truth.T)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        run.stepped()
        if run.step % 50 == 0:
            report("text", run.step, run.seconds, answers=asked.item(), teacher=alike.item())
    run.finish()
