"""A checkpoint's UNet and autoencoder compiled by OpenVINO for this CPU: the same answers within rounding, several times
sooner. Optional: ``pip install 'safelight[cpu]'``.

The networks are traced from the torch modules for any number of rows and any size, and kept as files, since tracing
takes seconds. Knows tensors and files; knows nothing of prompts, samplers or requests.
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

log = logging.getLogger(__name__)

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}
ODD_SIDES = 13, 11  # of the latents that are traced; with sides that halve evenly a UNet takes a path for those alone
TRACED_ROWS = 2
NETWORKS = "unet", "encode", "decode"


def installed() -> str | None:
    """The version, where there is one."""
    return version("openvino") if importlib.util.find_spec("openvino") else None


class Network:
    """One network, compiled. Takes and gives float32. Any thread may call it, one at a time."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._gate = threading.Lock()

    def __call__(self, *inputs: Tensor) -> Tensor:
        with self._gate:
            answer = self._request.infer([tensor.float().contiguous().numpy() for tensor in inputs], share_inputs=True)
            return torch.from_numpy(answer[0])


class Compiled:
    """``unet(rows, timesteps, context[, text_embeds, time_ids])``, ``encode(pixels)`` to moments, ``decode(latents)``."""

    def __init__(self, unet: nn.Module, vae: nn.Module, dtype: torch.dtype, folder: Path | None = None) -> None:
        """``folder`` keeps what was traced, in float32; the calls compute in ``dtype``."""
        core = _openvino().Core()
        options = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # two workers of one machine would sit on the same cores
        }
        models = _read(core, folder) or _trace(unet, vae, folder)
        self.unet, self.encode, self.decode = (
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


def _trace(unet: nn.Module, vae: Any, folder: Path | None) -> dict[str, Any]:
    openvino = _openvino()
    models = {
        name: _convert(openvino, network, example)
        for name, network, example in (
            ("unet", _UNet(unet), _unet_example(unet)),
            ("encode", _Encode(vae), [torch.zeros(1, 3, *(8 * side for side in ODD_SIDES))]),
            ("decode", _Decode(vae), [torch.zeros(1, vae.config["latent_channels"], *ODD_SIDES)]),
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


def _unet_example(unet: Any) -> list[Tensor]:
    config = unet.config
    rows = torch.zeros(TRACED_ROWS, config["in_channels"], *ODD_SIDES)
    example = [rows, torch.zeros(TRACED_ROWS), torch.zeros(TRACED_ROWS, 77, config["cross_attention_dim"])]
    if config["addition_embed_type"] == "text_time":
        ids = 6
        pooled = config["projection_class_embeddings_input_dim"] - ids * config["addition_time_embed_dim"]
        example += [torch.zeros(TRACED_ROWS, pooled), torch.zeros(TRACED_ROWS, ids)]
    return example


class _UNet(nn.Module):
    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, rows: Tensor, timesteps: Tensor, context: Tensor, *added: Tensor) -> Any:
        conditions = dict(zip(("text_embeds", "time_ids"), added, strict=False)) or None
        return self.unet(rows, timesteps, context, added_cond_kwargs=conditions, return_dict=False)[0]


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
