"""Where pictures are made: everything in progress, and one step of it at a time.

Ticks: choose whose turn it is, begin what is new, one call of the model, guidance and update, decode what is finished.
Single-threaded, with no thread, queue or clock of its own; the engine calls it between two looks at its inbox.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from safelight.engine.batcher import Batcher, Entry, Tick
from safelight.engine.canvas import Canvas
from safelight.engine.decode import Decoder
from safelight.engine.denoise import Denoiser, by_shape
from safelight.engine.encode import Encoder, Start
from safelight.engine.generation import Pixels, Progress
from safelight.engine.graphs import Graphs
from safelight.engine.pace import Pace
from safelight.engine.plan import Plan
from safelight.engine.preview import Previews
from safelight.engine.rows import Rows
from safelight.engine.ticket import Ticket
from safelight.engine.update import advance
from safelight.errors import SafelightError


@dataclass(slots=True, eq=False)
class Piece:
    """One picture of a request, in the batcher under its id. Its canvas is begun at its first step."""

    id: int
    ticket: Ticket
    plan: Plan
    index: int
    purges: int
    canvas: Canvas | None = None

    @property
    def seed(self) -> int:
        return (self.plan.generation.seed + self.index) % 2**32

    @property
    def done(self) -> int:
        return 0 if self.canvas is None else self.plan.table.done(self.canvas.calls)

    @property
    def calls_left(self) -> int:
        return len(self.plan.table.steps) - (0 if self.canvas is None else self.canvas.calls)


class Studio:
    """``finish`` takes a picture's pixels away, ``report`` its news; neither may block."""

    def __init__(
        self,
        encoder: Encoder,
        rows: Rows,
        pace: Pace,
        graphs: Graphs,
        decoder: Decoder,
        *,
        finish: Callable[[Piece, Tensor], None],
        report: Callable[[Ticket, Progress], None],
    ) -> None:
        self._pace = pace
        self._rows = rows
        self._encoder = encoder
        self._denoise = Denoiser(pace, graphs)
        self._decode = decoder
        self._previews = Previews()
        self._finish = finish
        self._report = report
        self._batcher = Batcher(self._widths)
        self._pieces: dict[int, Piece] = {}
        self._ids = itertools.count()

    @property
    def idle(self) -> bool:
        """Nothing is waiting for a call; pictures may still be in the decoder."""
        return not len(self._batcher)

    def pieces(self) -> list[Piece]:
        return list(self._pieces.values())

    def admit(self, ticket: Ticket, plan: Plan, purges: int) -> None:
        g = plan.generation
        for index in range(g.samples):
            piece = Piece(next(self._ids), ticket, plan, index, purges)
            self._pieces[piece.id] = piece
            self._batcher.add(Entry(piece.id, plan.bucket, plan.rows, g.owner, plan.row_pixels, g.priority))

    def drop(self, ticket: Ticket) -> None:
        for piece in [piece for piece in self._pieces.values() if piece.ticket is ticket]:
            self._retire(piece)

    def tick(self) -> None:
        """One step for those whose turn it is."""
        tick = self._batcher.next()
        if tick is None:
            return
        pieces = [self._pieces[entry.id] for entry in tick.entries]
        self._begin([piece for piece in pieces if piece.canvas is None])
        self._step(tick, self._present(pieces))
        self._collect([piece for piece in self._present(pieces) if _canvas(piece).finished])

    def _widths(self, bucket: Hashable) -> tuple[int, ...]:
        plan = next(piece.plan for piece in self._pieces.values() if piece.plan.bucket == bucket)
        with self._pace.measure("unet"):  # the first time, it is tried out
            return self._rows.widths(plan)

    def _present(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those that have not been dropped meanwhile."""
        return [piece for piece in pieces if piece.id in self._pieces]

    def _begin(self, pieces: Sequence[Piece]) -> None:
        for ticket in {piece.ticket for piece in pieces}:
            ticket.begin()
        starts = [Start(piece.plan, piece.seed, piece.purges) for piece in pieces]
        for piece, canvas in zip(pieces, self._encoder.begin(starts), strict=True):
            if isinstance(canvas, SafelightError):
                self._fail(piece, canvas)
            else:
                piece.canvas = canvas

    def _step(self, tick: Tick, pieces: Sequence[Piece]) -> None:
        if not pieces:
            return
        began = time.perf_counter()
        answers = self._denoise([_canvas(piece) for piece in pieces], tick.widths)
        outputs: dict[int, Tensor] = {}
        for piece, answer in zip(pieces, answers, strict=True):
            if isinstance(answer, SafelightError):
                self._fail(piece, answer)
            else:
                outputs[piece.id] = answer
        well = self._present([piece for piece in pieces if piece.id in outputs])
        for same in by_shape(well, lambda piece: piece.plan.shape):
            self._advance(same, torch.stack([outputs[piece.id] for piece in same]))
        used = sum(piece.plan.rows for piece in pieces)
        self._pace.step(pieces[0].plan.row_pixels, used, tick.rows, time.perf_counter() - began)

    def _advance(self, pieces: Sequence[Piece], outputs: Tensor) -> None:
        canvases = [_canvas(piece) for piece in pieces]
        previews = {piece.ticket: self._preview(piece, output) for piece, output in zip(pieces, outputs, strict=True)}
        steps = [canvas.step for canvas in canvases]
        stacks = advance(steps, [canvas.stack for canvas in canvases], outputs, [canvas.draw() for canvas in canvases])
        for canvas, stack in zip(canvases, stacks, strict=True):
            canvas.advance(stack)
        for ticket, preview in previews.items():
            self._tell(ticket, preview)

    def _preview(self, piece: Piece, output: Tensor) -> Pixels | None:
        if not piece.ticket.previews:
            return None
        canvas = _canvas(piece)
        shown, answered = canvas.step.denoised
        return self._previews.draw(piece.plan.model, shown * canvas.step.scale * canvas.latents + answered * output)

    def _tell(self, ticket: Ticket, preview: Pixels | None) -> None:
        """A request is as far as the hindmost of its pictures."""
        pieces = [piece for piece in self._pieces.values() if piece.ticket is ticket]
        step, steps = min(piece.done for piece in pieces), pieces[0].plan.table.denoising_steps
        if step > ticket.progress.step or steps != ticket.progress.steps:
            ticket.progress = Progress(step, steps, preview)
            self._report(ticket, ticket.progress)

    def _collect(self, pieces: Sequence[Piece]) -> None:
        by_canvas = {id(piece.canvas): piece for piece in pieces}
        for piece in pieces:
            self._batcher.remove(piece.id)
        self._decode(
            [_canvas(piece) for piece in pieces], lambda canvas, answer: self._end(by_canvas[id(canvas)], answer)
        )

    def _end(self, piece: Piece, answer: Tensor | SafelightError) -> None:
        if piece.id not in self._pieces:
            return
        if isinstance(answer, SafelightError):
            self._fail(piece, answer)
        else:
            self._retire(piece)
            self._finish(piece, answer)

    def _fail(self, piece: Piece, error: SafelightError) -> None:
        """A request is whole or not at all: with one picture goes the rest of it."""
        piece.ticket.fail(error)
        self.drop(piece.ticket)

    def _retire(self, piece: Piece) -> None:
        self._batcher.remove(piece.id)
        del self._pieces[piece.id]


def _canvas(piece: Piece) -> Canvas:
    assert piece.canvas is not None, "begun before its first step"
    return piece.canvas
