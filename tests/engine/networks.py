"""Small upscalers and segmenters, as files in the layouts that the world's have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from safelight.engine.upscalers import Compact, Dense


def a_dense(path: Path, fold: int = 1, blocks: int = 1) -> Path:
    """Real-ESRGAN's deep network: fourfold, or with ``fold`` 2 twofold."""
    return _written(Dense(8, 4, blocks, fold), path)


def a_compact(path: Path, factor: int = 2) -> Path:
    return _written(Compact(8, 2, factor), path)


def _written(network: torch.nn.Module, path: Path) -> Path:
    made = torch.Generator().manual_seed(3)
    weights = {
        f"params_ema.{name}": torch.randn(weight.shape, generator=made) * 0.05
        for name, weight in network.state_dict().items()
    }
    save_file(weights, path)
    return path


def a_segmenter(path: Path, side: int, outputs: int, *, logits: bool = False) -> Path:
    """An ONNX network with the inputs and outputs of the world's: red is in front, green behind."""
    weights = numpy_helper.from_array(np.array([[[[9.0]], [[-9.0]], [[0.0]]]], np.float32), "weights")
    nodes = [helper.make_node("Conv", ["input", "weights"], ["score"])]
    nodes += [helper.make_node("Identity" if logits else "Sigmoid", ["score"], [f"d{n}"]) for n in range(outputs)]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side, side])
    gives = [helper.make_tensor_value_info(f"d{n}", TensorProto.FLOAT, [1, 1, side, side]) for n in range(outputs)]
    graph = helper.make_graph(nodes, "segmenter", [given], gives, [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path
