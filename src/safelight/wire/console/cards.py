"""A job as the console's pages show it: its words, its pictures, and what a program would have said. Knows no page."""

from __future__ import annotations

from dataclasses import dataclass

from safelight.records import (
    CaptionRequest,
    CutOutRequest,
    ImageRequest,
    InstallRequest,
    Job,
    JobRequest,
    JobState,
    UpscaleRequest,
)
from safelight.service.services import Services
from safelight.wire.console.example import Example, example_of
from safelight.wire.console.samplers import label_of
from safelight.wire.http import picture_urls

USUAL_SIDE = 512


@dataclass(frozen=True, slots=True)
class Card:
    """``request`` is None for a job that makes no pictures from words; ``pictures`` are addresses on this server."""

    job: Job
    title: str
    width: int
    height: int
    request: ImageRequest | None
    model: str
    sampler: str
    pictures: list[str]
    names: list[str]
    example: Example | None

    @property
    def id(self) -> int:
        return self.job.id

    @property
    def following(self) -> bool:
        return not self.job.state.final

    @property
    def failed(self) -> bool:
        return self.job.state in (JobState.failed, JobState.cancelled)


def card_of(services: Services, job: Job) -> Card:
    """The example is by an API that may be switched off; then there is none."""
    request = job.request if isinstance(job.request, ImageRequest) else None
    names = services.assets.output_names(job) if job.state is JobState.succeeded else []
    spoken = "modelslab" in services.settings.dialects
    title, width, height = _shown(job.request)
    return Card(
        job=job,
        title=title,
        width=width,
        height=height,
        request=request,
        model=job.model or (request and request.model) or services.catalogue.default,
        sampler=label_of(request.sampler, request.spacing, request.algorithm_type) if request else "",
        pictures=picture_urls(job, names, ""),
        names=names,
        example=example_of(request, services.settings.base_url) if request and spoken and not request.beside else None,
    )


def _shown(request: JobRequest | None) -> tuple[str, int, int]:
    """What a job is called, and the size of what it makes."""
    match request:
        case ImageRequest(prompt=prompt, width=width, height=height):
            return prompt, width, height
        case UpscaleRequest(width=width, height=height):
            return f"Enlarged to {width} × {height}", width, height
        case CutOutRequest(only_mask=only_mask):
            return "A mask" if only_mask else "Background removed", USUAL_SIDE, USUAL_SIDE
        case CaptionRequest():
            return "A picture put into words", USUAL_SIDE, USUAL_SIDE
        case InstallRequest(kind=kind, name=name):
            return f"The {kind} {name}", USUAL_SIDE, USUAL_SIDE
    return "Not a picture", USUAL_SIDE, USUAL_SIDE
