"""Networks on the processor with OpenVINO: traced once, compiled for the machine."""

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from extract.compute import import_openvino
from extract.errors import RequestError, first_line
from extract.media.frames import Image

BATCHES = (16, 4, 8)  # that are tried, the first one first
FIXED = 8  # where the bits depend on the batch
CHECKED = (4, 8, 1, 3)  # batches whose bits must be those of the first of `BATCHES`
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class OpenVINOBackend:
    """Computes faces -> features; the same face gives the same bits, whatever stands beside it, with any threads.

    Parameters
    ----------
    faces_to_features : Module
        (n, s, s, 3) uint8 RGB -> (n, d) float32, preprocessing included; its parameters are frozen.
    precision : {"fp32", "bf16", "fp16"}
    threads : int
    any_batch : bool
        Whether the network's bits may be expected not to depend on the size of the batch, which is then checked here:
        the fastest size is found on the way, and single faces cost no more than they must. Otherwise batches are padded
        to one size.
    """

    def __init__(
        self, faces_to_features: nn.Module, *, precision: str, threads: int, any_batch: bool
    ) -> None:
        self._module, self._any_batch = faces_to_features.requires_grad_(False), any_batch
        self._sizes = BatchTrial(BATCHES if any_batch else (FIXED,))
        self._config = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,  # measured: more streams are no faster
        }
        self._requests: dict[int, Any] = {}

    def __call__(self, faces: Image) -> npt.NDArray[np.float32]:
        """Turn (n, s, s, 3) uint8 RGB faces, at least one, into (n, d) float32 features."""
        request = self._request(faces.shape[1])
        batches = self._sizes.cut(faces)
        return np.concatenate([_infer(request, self._padded(batch))[: len(batch)] for batch in batches])

    def prepare(self, side: int) -> None:
        """Compile for faces of `side` pixels; `RequestError` where OpenVINO cannot."""
        self._request(side)

    def _padded(self, batch: Image) -> Image:
        if self._any_batch or len(batch) == FIXED:
            return batch
        return np.concatenate([batch, np.zeros((FIXED - len(batch), *batch.shape[1:]), np.uint8)])

    def _request(self, side: int) -> Any:
        if side not in self._requests:
            self._requests[side] = self._compile(side)
        return self._requests[side]

    def _compile(self, side: int) -> Any:
        try:
            model = _convert(self._module, side)
            model.reshape([-1 if self._any_batch else FIXED, side, side, 3])
            compiled = import_openvino().Core().compile_model(model, "CPU", self._config)
            request = compiled.create_infer_request()
            if self._any_batch and not _same_in_any_batch(request, side):
                self._any_batch, self._sizes = False, BatchTrial((FIXED,))
                return self._compile(side)
            return request
        except Exception as error:  # whatever torch's tracer, the network, or OpenVINO raises
            raise RequestError(
                f"Expected a network that OpenVINO computes; it failed ({first_line(error)}). Use backend torch.",
                code="E_BACKEND",
            ) from error


def _infer(request: Any, faces: Image) -> npt.NDArray[np.float32]:
    # The output belongs to the request and is overwritten by its next run.
    return np.array(request.infer({0: faces})[0], np.float32)


def _same_in_any_batch(request: Any, side: int) -> bool:
    """Whether noise faces give the same bits in batches of several sizes on this processor; compiles the kernels."""
    noise = np.random.default_rng(0).integers(0, 256, (BATCHES[0], side, side, 3), dtype=np.uint8)
    whole = _infer(request, noise)
    return all(np.array_equal(_infer(request, noise[:size]), whole[:size]) for size in CHECKED)


class BatchTrial:
    """Cuts faces into batches, trying some sizes on the first ones and keeping the fastest.

    Only for backends whose bits do not depend on the batch: no face is computed twice for the trial's sake.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._open = list(sizes)
        self._rates: dict[int, float] = {}

    @property
    def best(self) -> int:
        """The fastest size so far; the first one before any was tried."""
        return max(self._rates, key=lambda size: self._rates[size]) if self._rates else self._open[0]

    def cut(self, faces: Image) -> Iterator[Image]:
        """Yield `faces` in batches; the time until the next one is asked for is a batch's."""
        start = 0
        while start < len(faces):
            size = self._open[0] if self._open else self.best
            begun = time.perf_counter()
            batch = faces[start : start + size]
            yield batch
            if self._open and len(batch) == size:
                self._open.pop(0)
                rate = size / (time.perf_counter() - begun)
                self._rates[size] = max(rate, self._rates.get(size, 0.0))
            start += size


def _convert(module: nn.Module, side: int) -> Any:
    """Trace a module for any number of faces of a side: OpenVINO's model of it."""
    openvino = import_openvino()
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
        # Of tracing: which of a network's paths is taken follows from its size.
        warnings.simplefilter("ignore")
        # A function's weights are constants of its graph: half of the time of a module's, each of whose parts becomes a
        # class of TorchScript. Tracing again to compare would take as long, and nothing here is random.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            lambda faces: module(faces), example, check_trace=False, strict=False
        )
        given = openvino.PartialShape([-1, side, side, 3])
        return openvino.convert_model(TorchScriptPythonDecoder(traced), example_input=example, input=[given])
