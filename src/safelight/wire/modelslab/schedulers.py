"""The vendor's scheduler names, the A1111 names that its page lists for them, and what each can do. Knows no engine."""

from __future__ import annotations

from dataclasses import dataclass

from safelight.errors import Invalid


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A sampler as it was asked for: by name alone, or by an A1111 name that also chooses spacing and algorithm."""

    name: str
    karras: bool = False
    algorithm_type: str | None = None


KARRAS = frozenset(
    {
        "DEISMultistep",
        "DPMSolverMultistep",
        "DPMSolverSinglestep",
        "EulerDiscrete",
        "HeunDiscrete",
        "KDPM2AncestralDiscrete",
        "KDPM2Discrete",
        "LMSDiscrete",
        "UniPCMultistep",
    }
)
SCHEDULERS = (
    *sorted(KARRAS),
    "DDIM",
    "DDIMInverse",
    "DDPM",
    "EulerAncestralDiscrete",
    "IPNDM",
    "LCM",
    "PNDM",
)
NOT_HERE = {  # what the vendor lists besides: each with the nearest that there is
    "KarrasVe": Scheduler("HeunDiscrete", karras=True),  # second order, on Karras's sigmas
    "ScoreSdeVe": Scheduler("EulerAncestralDiscrete"),  # first order, with noise at every step
}
FROM_PICTURES = {  # those that cannot start from a picture: each with the nearest that can
    "DDIMInverse": Scheduler("DDIM"),
    "IPNDM": Scheduler("PNDM"),
}
NO_ALGORITHM = frozenset({"no", "false"})  # besides the words that mean nothing everywhere
_SDE = "sde-dpmsolver++"
A1111 = {
    "ddim": Scheduler("DDIM"),
    "deis": Scheduler("DEISMultistep"),
    "dpm++ 2m": Scheduler("DPMSolverMultistep"),
    "dpm++ 2m karras": Scheduler("DPMSolverMultistep", karras=True),
    "dpm++ 2m sde": Scheduler("DPMSolverMultistep", algorithm_type=_SDE),
    "dpm++ 2m sde karras": Scheduler("DPMSolverMultistep", karras=True, algorithm_type=_SDE),
    "dpm++ sde": Scheduler("DPMSolverSinglestep"),
    "dpm++ sde karras": Scheduler("DPMSolverSinglestep", karras=True),
    "dpm2": Scheduler("KDPM2Discrete"),
    "dpm2 a": Scheduler("KDPM2AncestralDiscrete"),
    "dpm2 a karras": Scheduler("KDPM2AncestralDiscrete", karras=True),
    "dpm2 karras": Scheduler("KDPM2Discrete", karras=True),
    "euler": Scheduler("EulerDiscrete"),
    "euler a": Scheduler("EulerAncestralDiscrete"),
    "heun": Scheduler("HeunDiscrete"),
    "lcm": Scheduler("LCM"),
    "lms": Scheduler("LMSDiscrete"),
    "lms karras": Scheduler("LMSDiscrete", karras=True),
    "plms": Scheduler("PNDM"),
    "unipc": Scheduler("UniPCMultistep"),
}
ALGORITHMS = {
    "dpmsolver": "dpmsolver",
    "dpmsolver++": "dpmsolver++",
    "dpmsolver+++": _SDE,  # so spelled on the vendor's A1111 page, where it stands for SDE
    "sde-dpmsolver": "sde-dpmsolver",
    "sde-dpmsolver++": _SDE,
}
SOLVERS = {
    "DPMSolverMultistep": ("dpmsolver", "dpmsolver++", "sde-dpmsolver", _SDE),
    "DPMSolverSinglestep": ("dpmsolver", "dpmsolver++", _SDE),
}
NAMES = (*SCHEDULERS, *NOT_HERE)
_BY_NAME = {name.lower(): Scheduler(name) for name in NAMES} | A1111


def find_scheduler(word: str, *, from_picture: bool = False) -> tuple[Scheduler, str]:
    """Which one is used, and a sentence for the caller where that is not the one asked for."""
    name = word.strip().lower()
    asked = _BY_NAME.get(name) or _BY_NAME.get(name.removesuffix("scheduler").rstrip())
    if asked is None:
        raise Invalid("scheduler", f"must be one of {', '.join(NAMES)}")
    used = NOT_HERE.get(asked.name, asked)
    if from_picture:
        used = FROM_PICTURES.get(used.name, used)
    return used, "" if used is asked else f"scheduler {asked.name} is not offered here; {used.name} was used."


def find_algorithm(scheduler: str, word: str) -> str | None:
    """None for a scheduler that has no choice of algorithm: the word is then ignored, as the vendor does."""
    if word.strip().lower() in NO_ALGORITHM:
        return None
    found, offered = ALGORITHMS.get(word.strip().lower()), SOLVERS.get(scheduler, ALGORITHMS.values())
    if found not in offered:
        raise Invalid("algorithm_type", f"must be one of {', '.join(sorted(set(offered)))}")
    return found if scheduler in SOLVERS else None
