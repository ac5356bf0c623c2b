"""A checkpoint's denoiser and autoencoder compiled by OpenVINO for this CPU: the same answers within rounding, several times
sooner. Optional: ``pip install 'safelight[cpu]'``.

The networks are traced from the torch modules for any number of rows and any size, and kept as files, since tracing
takes seconds. Knows families, tensors and files; knows nothing of samplers or requests.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor, nn

from safelight.engine.families.family import Family, Inputs, Row

log = logging.getLogger(__name__)

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}
# Traced, in the least that a family can draw; with sides that halve evenly a UNet takes a path for those alone.
ODD_SIDES = 13, 11
TRACED_ROWS = 2
NETWORKS = "denoiser", "encode", "decode"


def installed() -> str | None:
    """The version, where there is one."""
    return version("openvino") if importlib.util.find_spec("openvino") else None


class Network:
    """One network, compiled. Gives float32. Any thread may call it, one at a time."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._gate = threading.Lock()

    def __call__(self, *inputs: Tensor) -> Tensor:
        with self._gate:
            answer = self._request.infer([_entered(tensor).numpy() for tensor in inputs], share_inputs=True)
            return torch.from_numpy(answer[0])


def _entered(tensor: Tensor) -> Tensor:
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


class Compiled:
    """``denoiser`` takes the inputs of a call in the family's order; ``encode(pixels)`` gives moments, ``decode`` takes latents."""

    def __init__(self, family: Family, dtype: torch.dtype, folder: Path | None = None) -> None:
        """Of a family in float32 on the CPU. ``folder`` keeps what was traced; the calls compute in ``dtype``."""
        core = _openvino().Core()
        options = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # two workers of one machine would sit on the same cores
        }
        models = _read(core, folder) or _trace(family, folder)
        self.denoiser, self.encode, self.decode = (
            Network(core.compile_model(models[name], "CPU", options)) for name in NETWORKS
        )


def place(kept: Path, name: str, checkpoint: Path) -> Path:
    """Where the networks of this very checkpoint are kept. Those of the same name's earlier contents are removed."""
    files = sorted(file for file in checkpoint.rglob("*") if file.is_file()) or [checkpoint]
    marks = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    versions = [version(part) for part in ("openvino", "torch", "diffusers")]
    stamp = hashlib.sha256(repr((str(checkpoint), marks, versions)).encode()).hexdigest()[:16]
    mine = kept / quote(name, safe="")
    for old in mine.glob("*"):
        if old.name != stamp:
            shutil.rmtree(old, ignore_errors=True)
    return mine / stamp


def _openvino() -> Any:
    """OpenVINO tells its makers over the network that it was imported, unless the part that does so is not there."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def _read(core: Any, folder: Path | None) -> dict[str, Any] | None:
    if folder is None or not folder.exists():
        return None
    try:
        return {name: core.read_model(folder / f"{name}.xml") for name in NETWORKS}
    except RuntimeError:
        log.warning("compiled networks cannot be read; making them anew", extra={"path": str(folder)})
        shutil.rmtree(folder)
        return None


def _trace(family: Family, folder: Path | None) -> dict[str, Any]:
    openvino = _openvino()
    vae, autoencoder, inputs = family.networks["vae"], family.autoencoder, _example(family)
    models = {
        name: _convert(openvino, network, example)
        for name, network, example in (
            ("denoiser", _Denoise(family, list(inputs)), list(inputs.values())),
            ("encode", _Encode(vae), [torch.zeros(1, 3, *(autoencoder.side * side for side in ODD_SIDES))]),
            ("decode", _Decode(vae), [torch.zeros(1, autoencoder.channels, *ODD_SIDES)]),
        )
    }
    if folder is not None:
        _keep(openvino, models, folder)
    return models


@torch.no_grad()
def _convert(openvino: Any, network: nn.Module, example: list[Tensor]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of branches that tracing fixes; the tests compare every architecture and size
        traced = torch.jit.trace(nn.Module.float(network).eval(), example, check_trace=False)  # type: ignore[no-untyped-call]  # torch's own
        return openvino.convert_model(traced, example_input=tuple(example))


def _keep(openvino: Any, models: Mapping[str, Any], folder: Path) -> None:
    """All of them or none. Without room on the disk they are traced again at the next load."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for name, model in models.items():
            openvino.save_model(model, draft / f"{name}.xml", compress_to_fp16=False)
        draft.rename(folder)
    except (OSError, RuntimeError):
        if not folder.exists():  # else a worker beside us was faster
            log.warning("compiled networks cannot be kept", exc_info=True, extra={"path": str(folder)})
        shutil.rmtree(draft, ignore_errors=True)


@torch.no_grad()
def _example(family: Family) -> Inputs:
    """A call of the family's."""
    least = family.multiple // family.autoencoder.side
    shape = family.autoencoder.channels, *(least * side for side in ODD_SIDES)
    [text] = family.read(family.networks, [""], 1)
    extra = torch.zeros(family.extra_channels, *shape[1:]) if family.extra_channels else None
    row = Row(torch.zeros(shape), 500.0, text, extra, references=(torch.zeros(shape),) if family.edits else ())
    return {name: _entered(tensor) for name, tensor in family.gather([row] * TRACED_ROWS).items()}


class _Denoise(nn.Module):
    def __init__(self, family: Family, names: list[str]) -> None:
        super().__init__()
        self.network = family.networks[family.denoiser]
        self._family = family
        self._names = names

    def forward(self, *tensors: Tensor) -> Any:
        inputs = dict(zip(self._names, tensors, strict=True))
        return self._family.call({self._family.denoiser: self.network}, inputs)


class _Encode(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pixels: Tensor) -> Any:
        return self.vae.encode(pixels, return_dict=False)[0].parameters


class _Decode(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Any:
        return self.vae.decode(latents, return_dict=False)[0]
