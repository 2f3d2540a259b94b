"""What classifiers and extractors as ONNX files share: the packages, the description beside a file, a session."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from extract.errors import RequestError

NEEDED = ("onnx", "onnxruntime", "skl2onnx", "onnxmltools", "onnxscript")


def check_installed() -> None:
    """Refuse to export without the extra ``onnx``; `RequestError`."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise RequestError(
            f"Expected the packages that write and run ONNX; {', '.join(missing)} is not installed. "
            'Run pip install -e ".[onnx]".',
            code="E_PACKAGE_MISSING",
        )


def sidecar(path: Path) -> Path:
    """Name the description beside an ONNX file: ``classifier.onnx`` -> ``classifier.onnx.json``."""
    return path.with_name(f"{path.name}.json")


def differs(path: Path, how: str) -> RequestError:
    """Build the error for a file that does not do what it was made from."""
    return RequestError(
        f"Expected an ONNX file that agrees with the models it was made from; {path.name} {how}. "
        "Export it again; if that does not help, use the detector from Python.",
        code="E_EXPORT",
    )


def open_session(path: Path) -> Any:
    """Open a file with onnxruntime, on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # as everywhere: the grid is what runs in parallel
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: Any, name: str, rows: npt.NDArray[Any], *, step: int) -> npt.NDArray[np.float32]:
    """Run a model of one input and one output, `step` rows at a time, and join what comes out."""
    parts = [session.run(None, {name: rows[i : i + step]})[0] for i in range(0, len(rows), step)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
