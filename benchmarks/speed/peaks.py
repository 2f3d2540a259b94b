"""What a machine and a network allow: matrix products a second, and the products that a network needs."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from extract.compute import import_openvino
from extract.openvino_backend import PRECISIONS
from extract.workers import cores

SIDE = 2048  # of the square matrices: large enough that no cache holds them all
SECONDS = 1.5


def matrix_peak(backend: str, precision: str) -> float:
    """Measure the floating-point operations a second of a product of two square matrices, 2 n³ each.

    With OpenVINO's own kernels, or torch's; on a GPU with torch.
    """
    multiply = (
        _with_openvino(precision) if backend in ("openvino", "packed") else _with_torch(backend, precision)
    )
    multiply()
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        start = time.perf_counter()
        multiply()
        best = min(best, time.perf_counter() - start)
    return 2 * SIDE**3 / best


def flop(network: nn.Module, size: int = 224) -> float:
    """Count the operations of one image, a multiplication and an addition being two, in products and convolutions."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, size, size))
    return float(counter.get_total_flops())


def parameters(network: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _with_openvino(precision: str) -> Callable[[], object]:
    openvino = import_openvino()
    ops, rng = openvino.opset13, np.random.default_rng(0)
    given = ops.parameter([SIDE, SIDE], dtype=np.float32)
    weights = ops.constant(rng.normal(size=(SIDE, SIDE)).astype(np.float32))
    model = openvino.Model([ops.matmul(given, weights, False, True)], [given], "product")
    config = {"INFERENCE_PRECISION_HINT": PRECISIONS[precision], "INFERENCE_NUM_THREADS": cores()}
    request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
    left = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    return lambda: request.infer({0: left}, share_inputs=True, share_outputs=True)


def _with_torch(backend: str, precision: str) -> Callable[[], object]:
    device = "cuda" if backend == "cuda" else "cpu"
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left, right = torch.randn(2, SIDE, SIDE, device=device).to(kind)

    def multiply() -> None:
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()

    return multiply
