"""What `ReActNetA` comes down to: one bit a binary weight, seven numbers a channel, and the real-valued rest.

stem.weights            (27, 32) float32    by row, column, colour of the 3x3 kernel
stem.table              (3, 32) float32     batch norm: scale, offset; shift of the next RSign
block<i>.first.signs    (outputs * inputs * 9 / 8,) uint8   the 3x3 convolution; bit 1 is +alpha, in the order of
                                            the checkpoint: output, input, row, column; first bit highest
block<i>.first.table    (7, outputs) float32    alpha; batch norm: scale, offset; RPReLU: shift, slope, shift; shift
                                            of the next RSign
block<i>.second.signs, block<i>.second.table    the 1x1 convolution; two of them one after another where channels double
fc.weight, fc.bias      (d, 1024), (d,) float32     where the network has a head
"""

import itertools
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from extract.reactnet import CHANNELS, FEATURES, BinaryConv, Block, ReActNetA, Shift, Stem

Floats = npt.NDArray[np.float32]
Signs = npt.NDArray[np.bool_]
# Inputs, outputs and stride of each block.
BLOCKS = [(a, b, 2 if a != b and i > 0 else 1) for i, (a, b) in enumerate(itertools.pairwise(CHANNELS))]


def binary_arrays(network: ReActNetA) -> dict[str, npt.NDArray[Any]]:
    """Return all that a network in evaluation mode is, as arrays under the names above.

    Raises
    ------
    ValueError
        A network in training mode: its batch norms are not yet numbers.
    """
    if network.training:
        raise ValueError("Expected a network in evaluation mode; got one in training mode. Call `eval()`.")
    with torch.inference_mode():
        stem, *blocks = list[Any](network.feature)
        arrays = _stem_arrays(stem, blocks[0].move11)
        for number, block in enumerate(blocks, start=1):
            following = blocks[number].move11 if number < len(blocks) else Shift(FEATURES)
            arrays |= _block_arrays(f"block{number}", block, following)
        if isinstance(network.fc, nn.Linear):
            arrays |= {"fc.weight": network.fc.weight.numpy(), "fc.bias": network.fc.bias.numpy()}
    return {name: np.array(array, order="C") for name, array in arrays.items()}


def _stem_arrays(stem: Stem, following: Shift) -> dict[str, npt.NDArray[Any]]:
    weights = stem.conv1.weight.permute(2, 3, 1, 0).reshape(27, -1)
    table = torch.stack([*_batch_norm(stem.bn1), _numbers(following)])
    return {"stem.weights": weights.numpy(), "stem.table": table.numpy()}


def _block_arrays(name: str, block: Block, following: Shift) -> dict[str, npt.NDArray[Any]]:
    if block.doubles:
        pointwise, norms = [block.binary_pw_down1, block.binary_pw_down2], [block.bn2_1, block.bn2_2]
    else:
        pointwise, norms = [block.binary_pw], [block.bn2]
    first = [block.move12, block.prelu1, block.move13, block.move21]
    second = [block.move22, block.prelu2, block.move23, following]
    return {
        f"{name}.first.signs": _signs([block.binary_3x3]),
        f"{name}.first.table": _table([block.binary_3x3], [block.bn1], first),
        f"{name}.second.signs": _signs(pointwise),
        f"{name}.second.table": _table(pointwise, norms, second),
    }


def _signs(convolutions: list[BinaryConv]) -> npt.NDArray[np.uint8]:
    """Bits of all weights; exactly zero counts as positive, as in `BinaryConv`."""
    return np.packbits(np.concatenate([~(c.weights < 0).flatten().numpy() for c in convolutions]))


def _table(convolutions: list[BinaryConv], norms: list[nn.BatchNorm2d], rest: list[nn.Module]) -> Floats:
    alpha = torch.cat([c.alpha().flatten() for c in convolutions])
    scales, offsets = zip(*map(_batch_norm, norms), strict=True)
    return cast(
        Floats, torch.stack([alpha, torch.cat(scales), torch.cat(offsets), *map(_numbers, rest)]).numpy()
    )


def _batch_norm(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and offset, asked of PyTorch for their last bits: its answer at 0, and where the offset vanishes."""
    huge = 2.0**100
    zeros = torch.zeros(1, norm.num_features, 1, 1)
    return norm(zeros + huge).flatten() / huge, norm(zeros).flatten()


def _numbers(module: nn.Module) -> Tensor:
    (numbers,) = module.parameters()
    return numbers.detach().flatten()


# -- checked and laid out for the kernels --------------------------------------------------------------------


def array_shapes(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    """Return the shape that each array must have; a head may have any number of outputs."""
    shapes: dict[str, tuple[int, ...]] = {"stem.weights": (27, CHANNELS[0]), "stem.table": (3, CHANNELS[0])}
    for number, (inputs, outputs, _) in enumerate(BLOCKS, start=1):
        shapes[f"block{number}.first.signs"] = (inputs * inputs * 9 // 8,)
        shapes[f"block{number}.first.table"] = (7, inputs)
        shapes[f"block{number}.second.signs"] = (inputs * outputs // 8,)
        shapes[f"block{number}.second.table"] = (7, outputs)
    if "fc.weight" in arrays:
        d = len(arrays["fc.weight"])
        shapes |= {"fc.weight": (d, FEATURES), "fc.bias": (d,)}
    return shapes


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse arrays that are not those of a ReActNet-A with `ValueError`."""
    shapes = array_shapes(arrays)
    if wrong := sorted(shapes.keys() ^ arrays.keys()):
        raise ValueError(
            f"Expected the {len(shapes)} arrays of a packed ReActNet-A; got {len(arrays)}, missing or too many: "
            f"{', '.join(wrong[:3])}. Write them with `PackedReActNet.save`."
        )
    for name, shape in shapes.items():
        dtype = np.uint8 if name.endswith("signs") else np.float32
        if arrays[name].shape != shape or arrays[name].dtype != dtype:
            raise ValueError(
                f"Expected {name} of shape {shape} {np.dtype(dtype)}; got {arrays[name].shape} {arrays[name].dtype}."
            )


def unpack(bits: npt.NDArray[np.uint8], *, inputs: int, outputs: int, kernel: int) -> Signs:
    """Return signs (outputs, kernel, kernel, inputs), True for +alpha."""
    signs = np.unpackbits(bits).astype(bool).reshape(outputs, inputs, kernel, kernel)
    return signs.transpose(0, 2, 3, 1)


def lay_out(signs: Signs, *, group: int) -> npt.NDArray[np.uint64]:
    """Pack (outputs, k, k, inputs) signs as the kernels read them: (outputs / group, k, k * words, group), flat."""
    outputs, kernel, _, inputs = signs.shape
    padded = np.pad(signs, [(0, 0)] * 3 + [(0, -inputs % 64)])
    words = np.packbits(padded, axis=3, bitorder="little").view("<u8").astype(np.uint64)
    return np.ascontiguousarray(
        words.reshape(outputs // group, group, kernel, -1).transpose(0, 2, 3, 1)
    ).ravel()


def border_sums(signs: Signs) -> npt.NDArray[np.int32]:
    """Return the sum where no bit differs, for the sides on which a kernel hangs over the border: (16, outputs), flat.

    There the map's bits are 0 and count as -1: what that takes from the sum is given back, and 0 is what
    remains. Sides as in `extract.binary`; a 1x1 kernel has none.
    """
    outputs, kernel, _, inputs = signs.shape
    sums = np.full((16, outputs), inputs * kernel * kernel, np.int32)
    tap_sums = np.where(signs, 1, -1).sum(axis=3, dtype=np.int32)  # (outputs, row, column)
    for sides in range(16 if kernel == 3 else 0):
        off = np.zeros((3, 3), bool)
        off[0] |= sides & 1 > 0
        off[2] |= sides & 2 > 0
        off[:, 0] |= sides & 4 > 0
        off[:, 2] |= sides & 8 > 0
        sums[sides] += (tap_sums * off).sum(axis=(1, 2), dtype=np.int32)
    return sums.ravel()
