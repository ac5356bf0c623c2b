"""The samplers that the console offers, as people call them. Knows no engine."""

from __future__ import annotations

from dataclasses import dataclass

from safelight.errors import Invalid


@dataclass(frozen=True, slots=True)
class Sampler:
    """``ours`` is None for the checkpoint's own."""

    label: str
    ours: str | None
    karras: bool = False
    algorithm_type: str | None = None


SAMPLERS = (
    Sampler("The checkpoint's own", None),
    Sampler("DPM++ 2M Karras", "DPMSolverMultistep", karras=True),
    Sampler("DPM++ 2M SDE Karras", "DPMSolverMultistep", karras=True, algorithm_type="sde-dpmsolver++"),
    Sampler("DPM++ SDE Karras", "DPMSolverSinglestep", karras=True),
    Sampler("Euler", "EulerDiscrete"),
    Sampler("Euler a", "EulerAncestralDiscrete"),
    Sampler("Heun", "HeunDiscrete"),
    Sampler("DPM2 Karras", "KDPM2Discrete", karras=True),
    Sampler("LMS", "LMSDiscrete"),
    Sampler("DDIM", "DDIM"),
    Sampler("DDPM", "DDPM"),
    Sampler("PNDM", "PNDM"),
    Sampler("UniPC", "UniPCMultistep"),
    Sampler("DEIS", "DEISMultistep"),
    Sampler("LCM", "LCM"),
)


def find_sampler(label: str) -> Sampler:
    found = next((sampler for sampler in SAMPLERS if sampler.label == label), None)
    if found is None and label:
        raise Invalid("sampler", f"must be one of {', '.join(sampler.label for sampler in SAMPLERS)}")
    return found or SAMPLERS[0]


def label_of(ours: str | None, spacing: str, algorithm_type: str | None) -> str:
    """Of a request that may have come by another dialect."""
    for sampler in SAMPLERS:
        if (sampler.ours, sampler.karras, sampler.algorithm_type) == (ours, spacing == "karras", algorithm_type):
            return sampler.label
    return " ".join(part for part in (ours, algorithm_type, "" if spacing == "default" else spacing) if part)
