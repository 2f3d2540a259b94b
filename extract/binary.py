"""Binary convolutions on packed bits, with what stands between them in ReActNet, compiled by Numba.

Signs of 64 channels are one word: bit 1 is +1, bit 0 is -1. Over n products of signs that differ in p places the sum
is n - 2p, and p is the population count of an exclusive or (XNOR-Net, Rastegari et al. 2016, section 3.2). Words of
consecutive output channels lie side by side, so that one vector holds the counts of as many of them; what follows a
convolution is computed while its counts are in the first-level cache, up to the signs that the next one reads.

Layouts, all flat and C-contiguous:

- real map: (h, w, channels) float32;
- signs: (h + 2, w + 2, words) uint64 with a border of zeros and `slack` words behind; words = max(1, channels / 64);
- zeros: (h,) uint8, 1 where a row holds an input of exactly 0, whose sign is 0: neither bit;
- weights: (outputs / GROUP, kernel, kernel * words, GROUP) uint64;
- base: (16, outputs) int32, the sum where no place differs, for each combination of sides (above 1, below 2, left 4,
  right 8) on which a 3x3 kernel hangs over the border: `border_sums`;
- table: (7, channels) float32: alpha, scale and offset of the batch norm, the shifts and slopes of RPReLU (shift,
  slope, shift), the shift of the next RSign.

Every number is rounded as PyTorch rounds it, operation by operation, and no sum depends on other images or on threads.
Importing this module compiles it, or reads what an earlier process compiled.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated"
# (Numba gives the types of what it compiles.)

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from extract.binary_vectors import GROUP, PIXELS, count_tile, finish_32, stem_32

# Hash of binary_vectors.py: a change there must change this file, or Numba runs what it compiled before.
VECTORS = "a798f5a3757f7d0d"


def slack(words: int) -> int:
    """Return how many words the last tile of a map of signs may read behind it."""
    return 2 * PIXELS * words


def _compiled(signature: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Compile now, for one signature; keep the result on disk where there is a place for it."""

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        try:
            made: Callable[..., None] = njit(signature, nogil=True, cache=True)(function)
        except (RuntimeError, OSError):  # no folder that can be written, or no room in it
            made = njit(signature, nogil=True)(function)
        return made

    return decorate


# -- rows ----------------------------------------------------------------------------------------------------


@njit(nogil=True)
def count_row(bits, at, pitch, kernel, words, step, weights, outputs, width, counts):
    """Twice the places that differ, for every output channel of `width` pixels: (width, outputs) int32."""
    length = kernel * words
    for group in range(outputs // GROUP):
        taps = group * kernel * length * GROUP
        for x in range(0, width, PIXELS):
            start, to = at + x * step * words, x * outputs + group * GROUP
            count_tile(bits, start, pitch, kernel, length, step * words, weights, taps, counts, to, outputs)


@njit(nogil=True)
def _repair_row(x, at, inputs, shift, kernel, row, step, weights, outputs, width, counts):
    """Take back what inputs of exactly zero in one row of `x` were counted as: -1, by their bit.

    `row` is the row of the kernel that lies on them; `width` counts (inputs, outputs) pixels.
    """
    for column in range(width[0]):
        for channel in range(inputs):
            if x[at + column * inputs + channel] + shift[channel] != 0:
                continue
            for tap in range(kernel):
                place = column + kernel // 2 - tap
                if place >= 0 and place % step == 0 and place // step < width[1]:
                    start = (row * kernel + tap) * max(1, inputs // 64) + channel // 64
                    length = kernel * kernel * max(1, inputs // 64)
                    _add_weights(
                        weights, start, length, channel % 64, outputs, counts, place // step * outputs
                    )


@njit(nogil=True)
def _add_weights(weights, start, length, channel, outputs, counts, to):
    """Count one input of a pixel as 0 and not as -1, for every output channel."""
    for group in range(outputs // GROUP):
        tap = (group * length + start) * GROUP
        for lane in range(GROUP):
            bit = np.int32((weights[tap + lane] >> np.uint64(channel)) & np.uint64(1))
            counts[to + group * GROUP + lane] += np.int32(1) - np.int32(2) * bit


@njit(nogil=True)
def _finish_row(
    counts, base, side, step, width, table, outputs, shortcut, at, inputs, out, to, bits, word, words
):  # fmt: skip
    """Finish a row of pixels from its counts, its signs from `word` on; return whether a next input is zero.

    `side` is 1 above, 2 below; `step` 0 stands for a kernel without sides. `width` counts (inputs, outputs) pixels.
    """
    zeros = 0
    hangs = step > 0 and (width[1] - 1) * step + 1 >= width[0]
    first, last = int(step > 0), width[1] - int(hangs)
    for x, end in ((0, first), (first, last), (max(first, last), width[1])):
        if x >= end:
            continue
        sides = side + 4 * (x < first) + 8 * (hangs and end == width[1])
        for c in range(0, outputs, 32):
            o = x * outputs + c
            zeros |= finish_32(
                counts, o, base, sides * outputs + c, table, c, outputs, shortcut, at + x * inputs + c % inputs, inputs,
                out, to + o, bits, word + x * words + c // 32, words, end - x,
            )  # fmt: skip
    return zeros != 0


@njit(nogil=True)
def _pool_row(x, y, size, channels, out, width):
    """Average 2 x 2 pixels, added row by row as PyTorch adds them; an average that stands alone is repeated."""
    h, w = size
    above = min(y, h // 2 - 1) * 2 * w * channels
    below = above + w * channels
    for column in range(width):
        left = min(column, w // 2 - 1) * 2 * channels
        for c in range(channels):
            upper = x[above + left + c] + x[above + left + channels + c]
            lower = upper + x[below + left + c] + x[below + left + channels + c]
            out[column * channels + c] = lower / np.float32(4)


# -- layers --------------------------------------------------------------------------------------------------


@_compiled("void(f4[::1], i8, i8, f4[::1], f4[::1], f4[::1], u4[::1], u1[::1], i8, i8)")
def stem_rows(image, h, w, weights, table, out, bits, zeros, first, last):
    """Compute output rows `first` to `last` of the real convolution: 3x3, stride 2, 3 to 32 channels.

    Parameters
    ----------
    image : (3 * h * w,) float32
    weights : (27 * 32,) float32
        By row, column, colour; then output channel.
    table : (3 * 32,) float32
        Scale and offset of the batch norm, the shift of the first RSign.
    out, bits, zeros
        A map of (h + 1) // 2 x (w + 1) // 2 x 32; `bits` as half words.
    """
    width = (w + 1) // 2
    pitch = w + 3
    rows = np.zeros(9 * pitch, np.float32)
    for y in range(first, last):
        for line in range(9):
            source = 2 * y + line // 3 - 1
            if 0 <= source < h:
                start = (line % 3 * h + source) * w
                for x in range(w):  # slices would take Numba a second more to compile
                    rows[line * pitch + 1 + x] = image[start + x]
            else:
                for x in range(pitch):
                    rows[line * pitch + x] = 0
        zero = 0
        for x in range(width):
            word = ((y + 1) * (width + 2) + x + 1) * 2
            zero |= stem_32(rows, 2 * x, pitch, weights, table, out, (y * width + x) * 32, bits, word)
        zeros[y] = zero != 0


@_compiled(
    "void(f4[::1], u8[::1], u1[::1], f4[::1], i8, i8, i8, i8, i8,"
    " u8[::1], i4[::1], f4[::1], u8[::1], i4[::1], f4[::1], f4[::1], u4[::1], u1[::1], i8, i8)"
)
def block_rows(
    x, bits, zeros, shift, h, w, inputs, outputs, step, weights1, base1, table1, weights2, base2, table2,
    out, out_bits, out_zeros, first, last,
):  # fmt: skip
    """Compute output rows `first` to `last` of a block: a binary 3x3 and a binary 1x1 convolution with shortcuts.

    Parameters
    ----------
    x, bits, zeros
        The map of h x w x inputs that the block reads.
    shift : (inputs,) float32
        The shift of its first RSign.
    step : int
        Stride of the 3x3 convolution.
    weights1, base1, table1, weights2, base2, table2
        The two convolutions.
    out, out_bits, out_zeros
        The map of outputs that it writes; `out_bits` as half words.
    """
    width = (w + step - 1) // step
    words, out_words = max(1, inputs // 64), max(1, outputs // 64)
    pitch = (w + 2) * words
    counts = np.empty((width + PIXELS) * outputs, np.int32)
    shortcut, middle = np.empty(width * inputs, np.float32), np.empty(width * inputs, np.float32)
    signs = np.zeros((width + PIXELS) * words, np.uint64)
    halves = signs.view(np.uint32)
    for y in range(first, last):
        count_row(bits, y * step * pitch, pitch, 3, words, step, weights1, inputs, width, counts)
        for row in range(3):
            source = y * step + row - 1
            if 0 <= source < h and zeros[source]:
                at = source * w * inputs
                _repair_row(x, at, inputs, shift, 3, row, step, weights1, inputs, (w, width), counts)
        side = 1 * (y == 0) + 2 * (y * step + 1 >= h)
        around, at = x, y * w * inputs
        if step == 2:
            _pool_row(x, y, (h, w), inputs, shortcut, width)
            around, at = shortcut, 0
        found = _finish_row(
            counts,
            base1,
            side,
            step,
            (w, width),
            table1,
            inputs,
            around,
            at,
            inputs,
            middle,
            0,
            halves,
            0,
            2 * words,
        )
        count_row(signs, 0, 0, 1, words, 1, weights2, outputs, width, counts)
        if found:
            after = table1[6 * inputs :]
            _repair_row(middle, 0, inputs, after, 1, 0, 1, weights2, outputs, (width, width), counts)
        word = ((y + 1) * (width + 2) + 1) * 2 * out_words
        out_zeros[y] = _finish_row(
            counts, base2, 0, 0, (width, width), table2, outputs, middle, 0, inputs, out, y * width * outputs,
            out_bits, word, 2 * out_words,
        )  # fmt: skip
