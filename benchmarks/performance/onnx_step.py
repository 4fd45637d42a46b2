"""One step of an LSTM in ONNX Runtime, where it is installed (`pip install onnx onnxruntime`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch

Step = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Any]


def onnx_step(cell: torch.nn.LSTMCell) -> Step | None:
    """Return a function that steps the same cell in ONNX Runtime on one thread; None where onnx or onnxruntime is
    missing."""
    if importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None:
        print("step        ONNX Runtime: left out, onnx and onnxruntime are not installed here")
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(_model(cell), options, providers=["CPUExecutionProvider"])

    def step(x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Any:
        return session.run(None, {"x": x[None].numpy(), "h": h[None].numpy(), "c": c[None].numpy()})

    return step


def _model(cell: torch.nn.LSTMCell) -> bytes:
    """Return the cell as a serialised ONNX model. ONNX orders the gates as input, output, forget, candidate."""
    from onnx import TensorProto, helper, numpy_helper

    def reordered(weights: torch.Tensor) -> torch.Tensor:
        let_in, kept, candidate, let_out = weights.detach().chunk(4)
        return torch.cat([let_in, let_out, kept, candidate])

    ih, hh, bias_ih, bias_hh = (reordered(one) for one in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh))
    constants = {"w": ih[None], "r": hh[None], "b": torch.cat([bias_ih, bias_hh])[None]}
    floats = TensorProto.FLOAT
    shapes = {"x": [1, None, cell.input_size], "h": [1, None, cell.hidden_size], "c": [1, None, cell.hidden_size]}
    node = helper.make_node(
        "LSTM", ["x", "w", "r", "b", "", "h", "c"], ["", "h_after", "c_after"], hidden_size=cell.hidden_size
    )
    graph = helper.make_graph(
        [node],
        "step",
        [helper.make_tensor_value_info(name, floats, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(f"{name}_after", floats, shapes[name]) for name in ("h", "c")],
        [numpy_helper.from_array(value.numpy(), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
