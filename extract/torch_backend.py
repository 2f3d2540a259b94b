"""Networks with torch: on the processor, and on a GPU."""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from extract.media.frames import Image

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
CPU_BATCH = 16  # fixed and padded: in torch the same face gives other bits in a batch of another size
GPU_BATCH = 32  # likewise, and small enough that the next can be copied meanwhile


class TorchBackend:
    """Computes faces -> features on the processor, in batches that are padded to one size.

    Parameters
    ----------
    faces_to_features : Module
        (n, s, s, 3) uint8 RGB -> (n, d) float32, preprocessing included.
    precision : {"fp32", "bf16", "fp16"}
    """

    def __init__(self, faces_to_features: nn.Module, *, precision: str) -> None:
        self._module, self._precision = faces_to_features, precision

    def __call__(self, faces: Image) -> npt.NDArray[np.float32]:
        """Turn (n, s, s, 3) uint8 RGB faces, at least one, into (n, d) float32 features."""
        starts = range(0, len(faces), CPU_BATCH)
        return np.concatenate([self._padded(faces[i : i + CPU_BATCH]) for i in starts])

    def _padded(self, faces: Image) -> npt.NDArray[np.float32]:
        full = torch.zeros((CPU_BATCH, *faces.shape[1:]), dtype=torch.uint8)
        full[: len(faces)] = torch.from_numpy(np.ascontiguousarray(faces))
        with torch.inference_mode(), autocast("cpu", self._precision):
            features: Tensor = self._module(full)
        return features[: len(faces)].float().numpy()


class CudaBackend:
    """Computes faces -> features on a GPU: channels-last, autocast, one CUDA graph for each size of faces.

    Faces go through two pinned buffers: while the GPU works on one batch, the next is copied.
    """

    def __init__(self, faces_to_features: nn.Module, *, precision: str) -> None:
        # A copy: the network on the processor stays there, for exports. A memory format changes four-dimensional
        # parameters alone.
        self._module = copy.deepcopy(faces_to_features).to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._precision = precision
        self._graphs: dict[int, _Graph] = {}

    def __call__(self, faces: Image) -> npt.NDArray[np.float32]:
        """Turn (n, s, s, 3) uint8 RGB faces, at least one, into (n, d) float32 features."""
        side = faces.shape[1]
        if side not in self._graphs:
            self._graphs[side] = _capture(self._module, side, self._precision)
        graph = self._graphs[side]
        copied = [torch.cuda.Event(), torch.cuda.Event()]  # type: ignore[no-untyped-call]
        outputs = []
        for number, start in enumerate(range(0, len(faces), GPU_BATCH)):
            batch, slot = faces[start : start + GPU_BATCH], number % 2
            copied[slot].synchronize()  # the GPU has taken what the buffer held
            graph.pinned[slot][: len(batch)] = torch.from_numpy(np.ascontiguousarray(batch))
            graph.input.copy_(graph.pinned[slot], non_blocking=True)
            copied[slot].record()
            graph.graph.replay()
            outputs.append(graph.output[: len(batch)].clone())  # the next replay overwrites it
        return torch.cat(outputs).cpu().numpy()


@dataclass(frozen=True)
class _Graph:
    """A captured forward pass with its fixed input (GPU_BATCH, s, s, 3) and output (GPU_BATCH, d), on the GPU."""

    graph: torch.cuda.CUDAGraph
    input: Tensor
    output: Tensor
    pinned: tuple[Tensor, Tensor]


def _capture(module: nn.Module, side: int, precision: str) -> _Graph:
    shape = (GPU_BATCH, side, side, 3)
    given = torch.zeros(shape, dtype=torch.uint8, device="cuda")
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.inference_mode(), autocast("cuda", precision), exactly():
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(
            stream
        ):  # libraries set themselves up in the first runs, which cannot be captured
            for _ in range(3):
                module(given)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph):
            output = module(given).float()
    pinned = (
        torch.zeros(shape, dtype=torch.uint8).pin_memory(),
        torch.zeros(shape, dtype=torch.uint8).pin_memory(),
    )
    return _Graph(graph, given, output, pinned)


def exactly() -> AbstractContextManager[None]:
    """Return the context in which cuDNN computes float32 as float32.

    TF32 would round the inputs of its products to ten bits: half precision under another name.
    """
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def autocast(device: str, precision: str) -> torch.autocast:
    """Return the context that computes in a precision: matrix products in half, sums and norms in float32."""
    return torch.autocast(device, dtype=HALF.get(precision), enabled=precision in HALF)
