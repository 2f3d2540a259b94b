"""What computes a network's features: backend and precision, as asked for and as found on this machine."""

import functools
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from extract.errors import RequestError

BackendChoice = Literal["auto", "openvino", "packed", "torch", "cuda"]
PrecisionChoice = Literal["auto", "fp32", "bf16", "fp16"]
HALVES = ("bf16", "fp16")
_OPENVINO_NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class UnavailableError(RequestError):
    """A backend or a precision that this machine does not have."""

    default_code = "E_UNAVAILABLE"


@dataclass(frozen=True)
class ComputeSettings:
    """How networks are computed, none of which is part of what they are.

    Attributes
    ----------
    backend : {"auto", "openvino", "packed", "torch", "cuda"}
        ``auto``: a GPU where there is one; else OpenVINO, and packed bits for a binary network; else torch.
    precision : {"auto", "fp32", "bf16", "fp16"}
        ``auto``: the half precision that the machine computes natively, for networks that are known to keep their
        features in it; else float32.
    """

    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"


def as_recorded(backend: str, precision: str) -> ComputeSettings:
    """Return what asks for a backend and a precision that were chosen before, as an `Extractor` names them."""
    names: dict[str, BackendChoice] = {
        "openvino": "openvino",
        "packed": "packed",
        "torch": "torch",
        "cuda": "cuda",
    }
    precisions: dict[str, PrecisionChoice] = {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"}
    return ComputeSettings(names.get(backend, "auto"), precisions.get(precision, "auto"))


def choose(
    asked: ComputeSettings, *, name: str, half: frozenset[str] | None, binary: bool
) -> tuple[str, str]:
    """Choose backend and precision of one network on this machine.

    Parameters
    ----------
    name : str
        The extractor, for messages.
    half : frozenset of {"bf16", "fp16"}, optional
        Half precisions in which the network keeps its features; None: not known.
    binary : bool
        Whether the network's convolutions are binary.

    Returns
    -------
    backend : {"openvino", "packed", "torch", "cuda"}
    precision : {"fp32", "bf16", "fp16"}

    Raises
    ------
    UnavailableError
        What is asked for is not on this machine.
    RequestError
        It would spoil the features.
    """
    backend = _choose_backend(asked.backend, binary=binary)
    if backend == "packed" and not binary:
        raise RequestError(
            f"Expected a binary network for backend packed; got {name}. Use auto, which chooses.",
            code="E_OPTION",
        )
    if asked.precision == "auto":
        return backend, next((p for p in _native_halves(backend) if p in (half or ())), "fp32")
    if asked.precision in HALVES:
        _check_half(asked.precision, name=name, half=half, backend=backend)
    return backend, asked.precision


def _choose_backend(asked: str, *, binary: bool) -> str:
    if asked == "auto":
        if _has_gpu():
            return "cuda"
        return "packed" if binary else "openvino" if has_openvino() else "torch"
    if asked == "cuda" and not _has_gpu():
        raise UnavailableError(
            "Expected a GPU that torch can use (backend cuda); there is none. Use backend auto."
        )
    if asked == "openvino" and not has_openvino():
        raise UnavailableError(
            "Expected OpenVINO (backend openvino); it is not installed. pip install openvino."
        )
    return asked


def _native_halves(backend: str) -> list[str]:
    """Return the half precisions that a backend computes faster than float32 here, the preferred first."""
    if backend == "cuda":
        import torch

        return ["bf16", "fp16"] if torch.cuda.is_bf16_supported(including_emulation=False) else ["fp16"]
    if backend == "openvino":
        return [p for p in (_openvino_default(),) if p in HALVES]
    return []


def _check_half(precision: str, *, name: str, half: frozenset[str] | None, backend: str) -> None:
    if half is not None and precision not in half:
        raise RequestError(
            f"Expected a precision in which {name} keeps its features (cosine similarity to float32 of 0.999); "
            f"got {precision}. Use {' or '.join([*sorted(half), 'fp32'])}, or auto, which chooses.",
            code="E_OPTION",
        )
    if backend == "packed":
        raise RequestError(
            f"Expected fp32 for packed bits; got {precision}. Use auto, which chooses.", code="E_OPTION"
        )
    if precision not in _halves(backend):
        raise UnavailableError(
            f"Expected a precision that this machine computes; got {precision}. Use fp32, or auto, which chooses."
        )


def _halves(backend: str) -> Sequence[str]:
    """Return the half precisions that a backend computes here at all."""
    if backend == "openvino":
        return [name.lower() for name in _openvino_capabilities()]
    return _native_halves(backend) if backend == "cuda" else HALVES


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:
    """Import OpenVINO, without the telemetry that it would send over the network when imported."""
    # Its own stub takes over where the package cannot be imported; None in sys.modules is Python's word for that.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@functools.cache
def _openvino_capabilities() -> tuple[str, ...]:
    return tuple(import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


@functools.cache
def _openvino_default() -> str:
    """Return the precision that OpenVINO itself takes on this processor: a half only where it is native."""
    openvino = import_openvino()
    ops = openvino.opset13
    x = ops.parameter([1, 1], dtype=np.float32)
    tiny = openvino.Model([ops.relu(x)], [x], "tiny")
    hint = openvino.Core().compile_model(tiny, "CPU").get_property("INFERENCE_PRECISION_HINT")
    return _OPENVINO_NAMES.get(hint.get_type_name(), "fp32")
