"""State dicts: read safely, matched strictly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from extract.errors import RequestError, first_line

State = Mapping[str, Tensor]
COUNTER = "num_batches_tracked"  # batch norm's step counter, unused at inference; some files leave it out


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors or a weights-only pickle, without its usual wrappings.

    A dict nested under ``state_dict`` or ``model`` is taken out, and a ``module.`` before every key is dropped.

    Raises
    ------
    RequestError
        The file cannot be read, or holds something else.
    """
    try:
        state: Any = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # the readers raise whatever their parsers raise
        raise RequestError(
            f"Expected a state dict in {path}; it cannot be read ({first_line(error)}).", code="E_WEIGHTS"
        ) from error
    for wrapping in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapping), Mapping):
            state = state[wrapping]
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise RequestError(
            f"Expected a state dict (names to tensors) in {path}; got {type(state).__name__}.",
            code="E_WEIGHTS",
        )
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    return {key.removeprefix(prefix): value for key, value in state.items()}


def load_strictly(network: nn.Module, state: State, *, origin: str) -> None:
    """Load a state dict whose names and shapes are exactly the network's.

    Raises
    ------
    RequestError
        Naming the keys that are missing, left over, or of another shape.
    """
    own = network.state_dict()
    problems = {
        "missing": [k for k in own if k not in state],
        "left over": [k for k in state if k not in own],
        "of another shape": [k for k in own if k in state and own[k].shape != state[k].shape],
    }
    parts = [f"{len(keys)} {what} ({_first(keys)})" for what, keys in problems.items() if keys]
    if parts:
        raise RequestError(
            f"Expected the keys and shapes of {type(network).__name__} in {origin}; got {'; '.join(parts)}. "
            "Name the file after the network that it belongs to; nothing was loaded.",
            code="E_WEIGHTS",
        )
    network.load_state_dict(state, strict=True)


def in_order(network: nn.Module, state: State, *, origin: str) -> dict[str, Tensor]:
    """Rename a file's tensors to the network's names, both in state-dict order, all consumed.

    Raises
    ------
    RequestError
        Another number of tensors, or other shapes in that order.
    """
    own = network.state_dict()
    names = [key for key in own if not key.endswith(COUNTER)]
    tensors = [value for key, value in state.items() if not key.endswith(COUNTER)]
    if [own[name].shape for name in names] != [tensor.shape for tensor in tensors]:
        raise RequestError(
            f"Expected the {len(names)} tensors of {type(network).__name__}, in order, in {origin}; "
            f"got {len(tensors)} that differ. Reinstall the package.",
            code="E_WEIGHTS",
        )
    counters = {key: value for key, value in own.items() if key.endswith(COUNTER)}
    return {**counters, **dict(zip(names, tensors, strict=True))}


def _first(keys: list[str], limit: int = 3) -> str:
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")
