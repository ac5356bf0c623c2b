"""A studio whose finished pictures are hung here, by ticket and index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from safelight.engine.decode import Decoder
from safelight.engine.encode import Encoder
from safelight.engine.generation import Generation, Pixels
from safelight.engine.graphs import Graphs
from safelight.engine.images import to_pixels
from safelight.engine.model import Model
from safelight.engine.pace import Pace
from safelight.engine.plan import make_plan
from safelight.engine.rows import Rows
from safelight.engine.samplers import Samplers
from safelight.engine.studio import Piece, Studio
from safelight.engine.ticket import Ticket

from .stand_ins import MicroModel, as_model

ROWS = 12


class Gallery:
    def __init__(self, exact: bool = True, model: Model | None = None, rows: Rows | None = None) -> None:
        self.micro = MicroModel(moody=exact)
        self.model = model or as_model(self.micro)
        self.samplers = Samplers()
        self.pictures: dict[tuple[Ticket, int], Pixels] = {}
        self.latents: dict[Ticket, Tensor] = {}
        self.calls: list[tuple[Any, int]] = []  # the bucket of each call and the pictures in it
        pace, graphs = Pace(), Graphs()
        self.studio = Studio(
            Encoder(pace, exact=exact),
            rows or Rows(graphs, ROWS, exact=exact),
            pace,
            graphs,
            Decoder(pace, exact=exact, post=lambda act: act()),
            finish=self._hang,
            report=lambda ticket, progress: None,
        )

    def _hang(self, piece: Piece, pixels: Any) -> None:
        assert piece.canvas is not None
        self.pictures[piece.ticket, piece.index] = to_pixels(pixels)
        self.latents[piece.ticket] = piece.canvas.latents

    def admit(self, generation: Generation) -> Ticket:
        ticket = Ticket(generation, None, lambda ticket: None)
        self.studio.admit(ticket, make_plan(generation, self.model, self.samplers), 0)
        return ticket

    def drain(self) -> None:
        while not self.studio.idle:
            self.studio.tick()


def changed_by_company(
    model: Model, rows: Rows, company: Sequence[Generation], *, one_by_one: bool = False
) -> list[Generation]:
    """Those whose picture among the others is not, to the byte, their picture alone. ``one_by_one``: each comes a call later."""
    gallery = Gallery(model=model, rows=rows)
    tickets = []
    for generation in company:
        tickets.append(gallery.admit(generation))
        if one_by_one:
            gallery.studio.tick()
    gallery.drain()
    return [
        generation
        for generation, ticket in zip(company, tickets, strict=True)
        if not np.array_equal(gallery.pictures[ticket, 0], alone(generation, model, rows)[0])
    ]


def alone(generation: Generation, model: Model | None = None, rows: Rows | None = None) -> list[Pixels]:
    gallery = Gallery(model=model, rows=rows)
    ticket = gallery.admit(generation)
    gallery.drain()
    return [gallery.pictures[ticket, i] for i in range(generation.samples)]
