"""The engine: hand in a generation, get a ticket. All requests share the model at every denoising step.

One thread does everything that touches a model, a step at a time; whatever arrives, is cancelled or is purged takes
effect between two steps. A small pool prepares and finishes pictures beside it. Knows nothing of jobs, HTTP or files.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from torch import Tensor

from safelight.engine import images
from safelight.engine.decode import Decoder
from safelight.engine.encode import Encoder
from safelight.engine.enlarger import enlarge
from safelight.engine.generation import Generation, Picture, Progress
from safelight.engine.graphs import Graphs
from safelight.engine.isolate import as_ours
from safelight.engine.model import Model
from safelight.engine.pace import EngineLoad, Pace
from safelight.engine.plan import Plan, check, drawn_size, make_plan
from safelight.engine.rows import Rows
from safelight.engine.samplers import Samplers
from safelight.engine.shelf import Shelf
from safelight.engine.studio import Piece, Studio
from safelight.engine.ticket import Ticket
from safelight.errors import Cancelled, EngineFailed, SafelightError

SHELF_POLL = 0.05  # seconds between two looks at a checkpoint that is loading


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A ticket, and how often its owner's caches had been purged when it came in."""

    ticket: Ticket
    purges: int


class Engine:
    """``exact``: a picture's bytes never depend on its company; otherwise calls are only as wide as they need to be.

    ``max_rows`` fixes how many rows a call holds at most; without it that is timed. Which fewer rows give the same
    bits is tried out. Both are done once per size and remembered in ``rows_path``. ``graphs``: CUDA graphs. ``aside``:
    pictures are decoded beside the UNet's calls; None: on CUDA. ``threads`` is the size of the pool beside the engine's
    own thread.
    """

    def __init__(
        self,
        shelf: Shelf,
        *,
        exact: bool = True,
        max_rows: int | None = None,
        rows_path: Path | None = None,
        graphs: bool = True,
        aside: bool | None = None,
        threads: int = 2,
    ) -> None:
        self._shelf = shelf
        self._pace = Pace()
        self._samplers = Samplers()
        self._encoder = Encoder(self._pace, exact=exact)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._decoder = Decoder(self._pace, exact=exact, aside=aside, post=self._inbox.put)
        run = Graphs(enabled=graphs)
        self._studio = Studio(
            self._encoder,
            Rows(run, max_rows, rows_path, exact=exact),
            self._pace,
            run,
            self._decoder,
            finish=self._finish,
            report=self._report,
        )
        self._requests: dict[Ticket, Request] = {}  # that are not done; the engine's thread alone writes here
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pictures")
        self._messenger = ThreadPoolExecutor(1, thread_name_prefix="progress")
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._gate = threading.Lock()
        self._closed = False

    # From any thread.

    def start(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop after the step at hand. Whatever is not done by then fails as cancelled."""
        with self._gate:
            self._closed = True
            self._inbox.put(self._drop_all)
        if self._thread.is_alive():
            self._thread.join()
        self._decoder.close()
        self._pool.shutdown()
        self._messenger.shutdown()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def submit(self, generation: Generation, on_progress: Callable[[Progress], None] | None = None) -> Ticket:
        """Raises Invalid for what is wrong at sight; what only the checkpoint can tell comes through the ticket."""
        check(generation)
        ticket = Ticket(generation, on_progress, cancel=self._cancel)
        with self._gate:
            if self._closed:
                raise EngineFailed("The engine is closed")
            self._inbox.put(partial(self._arrive, Request(ticket, self._encoder.purges(generation.owner))))
        return ticket

    def purge(self, owner: str) -> None:
        """Drop what is kept of this owner, at once. Work in progress goes on, but leaves nothing behind."""
        self._encoder.purge(owner)

    def load(self) -> EngineLoad:
        pieces = self._studio.pieces()
        planned = {piece.ticket for piece in pieces}
        coming = [ticket for ticket in list(self._requests) if ticket not in planned and not ticket.future.done()]
        ahead = sum(self._seconds_left(piece) for piece in pieces)
        return EngineLoad(
            rows_per_tick=self._pace.rows_per_tick,
            seconds_per_step=self._pace.seconds_per_step,
            rows_waiting=sum(piece.plan.rows for piece in pieces),
            pictures=len(pieces),
            requests=len(planned) + len(coming),
            seconds_ahead=ahead + sum(self.seconds(ticket.generation) for ticket in coming),
            timings=self._pace.snapshot(),
        )

    def seconds(self, generation: Generation) -> float:
        """What a request costs here at the latest calls' width, as measured; 0.0 before anything has been."""
        model = self._model(generation)
        width, height = _drawn(generation, model)
        edits = model is not None and model.family.edits
        share = 1.0 if generation.init_image is None or edits else generation.strength
        guessed = 2 if generation.guidance_scale > 1 else 1
        rows = generation.samples * (guessed if model is None else model.family.rows(generation))
        calls = rows * max(1, int(generation.steps * share))
        pictures = generation.samples + (generation.init_image is not None)
        return calls * self._pace.row_seconds(width * height) + pictures * self._pace.vae_seconds(width * height)

    def _model(self, generation: Generation) -> Model | None:
        """What can be known of a checkpoint that is here already."""
        try:
            return self._shelf.get(generation.model)
        except SafelightError:
            return None

    def _seconds_left(self, piece: Piece) -> float:
        rows = piece.calls_left * piece.plan.rows
        pixels = piece.plan.width * piece.plan.height
        return rows * self._pace.row_seconds(piece.plan.row_pixels) + self._pace.vae_seconds(pixels)

    def _cancel(self, ticket: Ticket) -> None:
        self._inbox.put(partial(self._drop, ticket, Cancelled()))

    # On the engine's thread.

    def _run(self) -> None:
        while not (self._closed and self._inbox.empty()):
            try:
                self._read_inbox()
                with self._pace.tick():
                    self._studio.tick()
            except Exception as error:  # noqa: BLE001  # our own mistake: all are told, and the next request finds us here
                self._drop_all(as_ours(error))

    def _read_inbox(self) -> None:
        """All that has come in since the last step; with nothing else to do, wait for it."""
        if self._studio.idle:
            self._inbox.get()()
        while not self._inbox.empty():
            self._inbox.get()()

    def _arrive(self, request: Request) -> None:
        self._requests[request.ticket] = request
        request.ticket.future.add_done_callback(lambda _: self._inbox.put(partial(self._forget, request.ticket)))
        self._ask_for_model(request)

    def _ask_for_model(self, request: Request) -> None:
        """While it is loading, ask again between two steps."""
        ticket = request.ticket
        if ticket.future.done():
            return
        try:
            model = self._shelf.get(ticket.generation.model)
        except SafelightError as error:
            ticket.fail(error)
            return
        if model is None:
            threading.Timer(SHELF_POLL, self._inbox.put, [partial(self._ask_for_model, request)]).start()
        else:
            self._pool.submit(self._plan, request, model)

    def _admit(self, request: Request, plan: Plan) -> None:
        if not request.ticket.future.done():
            self._studio.admit(request.ticket, plan, request.purges)

    def _drop(self, ticket: Ticket, error: SafelightError) -> None:
        self._studio.drop(ticket)
        ticket.fail(error)

    def _drop_all(self, error: SafelightError | None = None) -> None:
        for ticket in list(self._requests):
            self._drop(ticket, error or Cancelled("The engine was closed"))

    def _forget(self, ticket: Ticket) -> None:
        self._requests.pop(ticket, None)

    def _finish(self, piece: Piece, pixels: Tensor) -> None:
        self._pool.submit(self._deliver, piece, pixels)

    def _report(self, ticket: Ticket, progress: Progress) -> None:
        self._messenger.submit(ticket.report, progress)

    # In the pool: what needs no model does not keep the thread that has one.

    def _plan(self, request: Request, model: Model) -> None:
        try:
            plan = make_plan(request.ticket.generation, model, self._samplers)
        except Exception as error:  # noqa: BLE001  # a border: the request is told
            request.ticket.fail(as_ours(error))
        else:
            self._inbox.put(partial(self._admit, request, plan))

    def _deliver(self, piece: Piece, pixels: Tensor) -> None:
        plan, g = piece.plan, piece.plan.generation
        try:
            picture = enlarge(images.to_pixels(pixels), g.width, g.height)
            if g.init_image is not None and g.mask_image is not None:
                picture = images.keep_unmasked(picture, g.init_image, g.mask_image)
        except Exception as error:  # noqa: BLE001  # a border: the request is told
            piece.ticket.fail(as_ours(error))
        else:
            drawn = (plan.width, plan.height)
            made = Picture(picture, piece.seed)
            piece.ticket.deliver(piece.index, made, plan.table.denoising_steps, drawn, modest=plan.modest)


def _drawn(generation: Generation, model: Model | None) -> tuple[int, int]:
    if model is None:
        return generation.width, generation.height
    return drawn_size(generation.width, generation.height, model.native_size, model.family.multiple)
