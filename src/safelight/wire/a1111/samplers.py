"""The sampler and scheduler names of AUTOMATIC1111's web UI, and what each is here. Knows no engine."""

from __future__ import annotations

from dataclasses import dataclass

from safelight.errors import Invalid

_SDE = "sde-dpmsolver++"


@dataclass(frozen=True, slots=True)
class Sampler:
    """``usual`` is the spacing that the web UI takes for it where the scheduler is automatic; None: it has no choice."""

    name: str
    ours: str
    usual: str | None = None
    algorithm_type: str | None = None


SAMPLERS = (
    Sampler("DPM++ 2M", "DPMSolverMultistep", "karras"),
    Sampler("DPM++ SDE", "DPMSolverSinglestep", "karras"),
    Sampler("DPM++ 2M SDE", "DPMSolverMultistep", "exponential", _SDE),
    Sampler("Euler a", "EulerAncestralDiscrete"),
    Sampler("Euler", "EulerDiscrete", "default"),
    Sampler("LMS", "LMSDiscrete", "default"),
    Sampler("Heun", "HeunDiscrete", "default"),
    Sampler("DPM2", "KDPM2Discrete", "karras"),
    Sampler("DPM2 a", "KDPM2AncestralDiscrete", "karras"),
    Sampler("DDIM", "DDIM"),
    Sampler("PLMS", "PNDM"),
    Sampler("UniPC", "UniPCMultistep", "default"),
    Sampler("LCM", "LCM"),
    Sampler("DEIS", "DEISMultistep", "default"),
    Sampler("DDPM", "DDPM"),
)
SCHEDULERS = {
    "automatic": "Automatic",
    "uniform": "Uniform",
    "normal": "Normal",  # the same steps under the name that SillyTavern begins with
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
}
_SPACINGS = {
    "uniform": "default",
    "normal": "default",
    "karras": "karras",
    "exponential": "exponential",
    "beta": "beta",
}
_BY_NAME = {sampler.name.lower(): sampler for sampler in SAMPLERS}


def find_sampler(name: str, scheduler: str) -> tuple[Sampler, str]:
    """The sampler and its spacing. Older tools name both at once, as in ``DPM++ 2M Karras``."""
    word, spacing = name.strip().lower(), _find_spacing(scheduler)
    for each in ("karras", "exponential"):
        if word not in _BY_NAME and word.endswith(f" {each}"):
            word, spacing = word.removesuffix(f" {each}"), each
    if word not in _BY_NAME:
        raise Invalid("sampler_name", f"must be one of {', '.join(sampler.name for sampler in SAMPLERS)}")
    sampler = _BY_NAME[word]
    return sampler, "default" if sampler.usual is None else spacing or sampler.usual


def _find_spacing(scheduler: str) -> str:
    word = scheduler.strip().lower()
    if word in ("", "automatic"):
        return ""
    if word not in _SPACINGS:
        raise Invalid("scheduler", f"must be one of {', '.join(SCHEDULERS)}")
    return _SPACINGS[word]
