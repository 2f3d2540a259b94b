"""ReActNet-A on the processor with packed bits: what `extract.reactnet` simulates with float32 convolutions."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from extract.binary import block_rows, slack, stem_rows
from extract.binary_vectors import GROUP
from extract.binary_weights import BLOCKS, binary_arrays, border_sums, check_arrays, lay_out, unpack
from extract.files import write_bytes
from extract.reactnet import CHANNELS, ReActNetA

Floats = npt.NDArray[np.float32]
Arrays = Mapping[str, npt.NDArray[Any]]
Sizes = list[tuple[int, int]]


@dataclass(frozen=True)
class _Block:
    """A block as `extract.binary.block_rows` reads it.

    Attributes
    ----------
    shift : (inputs,) float32
        Of its first RSign.
    convolutions : tuple of six arrays
        Weights, base and table of the 3x3 and of the 1x1 convolution, flat.
    """

    inputs: int
    outputs: int
    stride: int
    shift: Floats
    convolutions: tuple[npt.NDArray[Any], ...]


class _Map:
    """A real map with its signs and its rows that hold zeros: what one layer writes and the next one reads."""

    def __init__(self, h: int, w: int, channels: int) -> None:
        words = max(1, channels // 64)
        self.h, self.w = h, w
        self.real = np.empty(h * w * channels, np.float32)
        self.bits = np.zeros((h + 2) * (w + 2) * words + slack(words), np.uint64)  # its border stays zero
        self.zeros = np.zeros(h, np.uint8)

    @property
    def read(self) -> tuple[npt.NDArray[Any], ...]:
        return self.real, self.bits, self.zeros

    @property
    def written(self) -> tuple[npt.NDArray[Any], ...]:
        return self.real, self.bits.view(np.uint32), self.zeros


class PackedReActNet:
    """ReActNet-A from packed bits: (n, 3, h, w) float32 normalised images -> (n, d) float32.

    Parameters
    ----------
    arrays : mapping of str to array
        What `arrays` returns, under the names in `extract.binary_weights`.
    threads : int, optional
        How many threads a call takes at most. By default as many as Numba would: the cores of this process, or
        NUMBA_NUM_THREADS, which joblib sets in its workers to their share.

    Raises
    ------
    ValueError
        Arrays that are missing, too many or of other shapes.

    Notes
    -----
    A face gives the same bits in every batch and with every number of threads and processes.

    Every binary convolution is a whole number times alpha, as in `ReActNetA`, and what follows is rounded as PyTorch
    rounds it, in its order: batch norm as one fused multiply-add, averages row by row. The first convolution adds
    its 27 products in the order row, column, colour by fused multiply-add, as oneDNN does on a processor with
    AVX2 or more. So all signs agree with the simulation, and features differ by the last average alone, by
    a few 1e-6. PyTorch adds in another order for single images of some odd sizes, and may elsewhere: a number within
    rounding of zero may then change its sign, on one face in a few, and features by as much as 1.
    """

    def __init__(self, arrays: Arrays, *, threads: int | None = None) -> None:
        check_arrays(arrays)
        self._arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        self.threads: int = numba.get_num_threads() if threads is None else threads
        if self.threads < 1:
            raise ValueError(f"Expected at least one thread; got {self.threads}.")
        self._blocks = [self._block(f"block{i}", i) for i in range(1, len(BLOCKS) + 1)]
        self._spare: list[list[_Map]] = []

    @classmethod
    def from_network(cls, network: ReActNetA, *, threads: int | None = None) -> "PackedReActNet":
        """Take the weights of the float simulation, which must be in evaluation mode."""
        return cls(binary_arrays(network), threads=threads)

    @classmethod
    def from_arrays(cls, arrays: Arrays, *, threads: int | None = None) -> "PackedReActNet":
        """Make the network of which these are the `arrays`."""
        return cls(arrays, threads=threads)

    @classmethod
    def load(cls, path: Path, *, threads: int | None = None) -> "PackedReActNet":
        """Read what `save` wrote."""
        return cls(load_file(path), threads=threads)

    def save(self, path: Path) -> None:
        """Write the arrays as a safetensors file, whole or not at all."""
        write_bytes(path, save(self.arrays()))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that the network is: binary weights as bits, numbers a channel, the real-valued rest."""
        return dict(self._arrays)

    @property
    def dim(self) -> int:
        """Number of features of an image."""
        return len(self._arrays["fc.bias"]) if "fc.bias" in self._arrays else CHANNELS[-1]

    def _block(self, name: str, number: int) -> _Block:
        inputs, outputs, stride = BLOCKS[number - 1]
        before = self._arrays[f"block{number - 1}.second.table" if number > 1 else "stem.table"]
        first = self._convolution(f"{name}.first", inputs, inputs, 3)
        second = self._convolution(f"{name}.second", inputs, outputs, 1)
        return _Block(inputs, outputs, stride, before[-1], (*first, *second))

    def _convolution(self, name: str, inputs: int, outputs: int, kernel: int) -> tuple[npt.NDArray[Any], ...]:
        signs = unpack(self._arrays[f"{name}.signs"], inputs=inputs, outputs=outputs, kernel=kernel)
        return lay_out(signs, group=GROUP), border_sums(signs), self._arrays[f"{name}.table"].ravel()

    # -- images in, features out -----------------------------------------------------------------------------

    def __call__(self, images: Floats) -> Floats:
        """Compute features: whole images side by side, the rows of those that are left over.

        Raises
        ------
        ValueError
            Anything but (n, 3, h, w) float32, or a size that the network's shortcuts do not take.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.float32:
            raise ValueError(f"Expected images (n, 3, h, w) float32; got {images.shape} {images.dtype}.")
        sizes = list(zip(map_sizes(images.shape[2]), map_sizes(images.shape[3]), strict=True))
        if self.threads == 1 or not len(images):
            return self._stack([self._features(image, sizes) for image in images])
        whole = len(images) - len(images) % self.threads
        with ThreadPoolExecutor(self.threads) as pool:  # of this call: it outlives no fork
            features = list(pool.map(lambda image: self._features(image, sizes), images[:whole]))
            features += [self._features_by_rows(image, sizes, pool) for image in images[whole:]]
        return self._stack(features)

    def _stack(self, features: list[Floats]) -> Floats:
        return np.array(features, np.float32).reshape(len(features), self.dim)

    def _features(self, image: Floats, sizes: Sizes) -> Floats:
        with self._maps(sizes) as maps:
            for layer in self._layers(image, maps):
                layer(0, 1)
            return self._head(maps[-1])

    def _features_by_rows(self, image: Floats, sizes: Sizes, pool: ThreadPoolExecutor) -> Floats:
        """Share the rows of every layer: all threads have written their part before one reads it."""
        barrier = threading.Barrier(self.threads)

        def work(part: int) -> None:
            try:
                for layer in self._layers(image, maps):
                    layer(part, self.threads)
                    barrier.wait()
            except BaseException:
                barrier.abort()  # or the others would wait for this one without end
                raise

        with self._maps(sizes) as maps:
            list(pool.map(work, range(self.threads)))
            return self._head(maps[-1])

    def _layers(self, image: Floats, maps: list[_Map]) -> Iterator[Callable[[int, int], None]]:
        """Yield every layer of an image as a function that computes one of so many parts of its rows."""
        pixels = np.ascontiguousarray(image).ravel()
        stem = [self._arrays[f"stem.{name}"].ravel() for name in ("weights", "table")]
        yield _by_parts(
            maps[0].h, functools.partial(stem_rows, pixels, *image.shape[1:], *stem, *maps[0].written)
        )
        for block, source, target in zip(self._blocks, maps[:-1], maps[1:], strict=True):
            shape = (source.h, source.w, block.inputs, block.outputs, block.stride)
            given = (*source.read, block.shift, *shape, *block.convolutions, *target.written)
            yield _by_parts(target.h, functools.partial(block_rows, *given))

    def _head(self, last: _Map) -> Floats:
        features: Floats = last.real.reshape(-1, CHANNELS[-1]).mean(axis=0)
        if "fc.weight" not in self._arrays:
            return features
        logits: Floats = np.einsum("d,od->o", features, self._arrays["fc.weight"]) + self._arrays["fc.bias"]
        return logits

    @contextlib.contextmanager
    def _maps(self, sizes: Sizes) -> Iterator[list[_Map]]:
        """Lend the maps of one image: kept from call to call while images have one size."""
        try:
            maps = self._spare.pop()
        except IndexError:
            maps = []
        if [(m.h, m.w) for m in maps] != sizes:
            maps = [_Map(h, w, c) for (h, w), c in zip(sizes, CHANNELS, strict=True)]
        yield maps
        self._spare.append(maps)


def _by_parts(rows: int, work: Callable[[int, int], None]) -> Callable[[int, int], None]:
    return lambda part, parts: work(rows * part // parts, rows * (part + 1) // parts)


def map_sizes(size: int) -> list[int]:
    """Return the height (or width) of the map behind the first convolution and behind every block.

    A shortcut averages 2 x 2 pixels where a convolution has stride 2. An odd map has no such average of the same
    size, except that 3 gives one number, which PyTorch then repeats.

    >>> map_sizes(224)
    [112, 112, 56, 56, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7]
    """
    sizes = [(size + 1) // 2]
    for _, _, stride in BLOCKS:
        if sizes[-1] == 0 or (stride == 2 and sizes[-1] % 2 and sizes[-1] != 3):
            raise ValueError(
                f"Expected a size whose maps can be halved four times; got {size}, with a map of {sizes[-1]}. "
                "Take a multiple of 32."
            )
        sizes.append((sizes[-1] + stride - 1) // stride)
    return sizes
