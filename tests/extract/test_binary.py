import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import config
from torch.nn import functional as F

if config.DISABLE_JIT:
    pytest.skip("vector instructions need Numba's compiler", allow_module_level=True)

from extract import binary
from extract.binary import block_rows, slack, stem_rows
from extract.binary_vectors import GROUP
from extract.binary_weights import border_sums, lay_out, unpack


def pack_map(x, shift):
    """Signs of a (h, w, channels) map as the kernels read them, and which rows hold zeros."""
    h, w, channels = x.shape
    moved = x + shift
    bits = np.zeros((h + 2, w + 2, max(64, channels)), np.uint8)
    bits[1:-1, 1:-1, :channels] = moved > 0
    words = np.packbits(bits, axis=2, bitorder="little").view(np.uint64).ravel()
    return np.pad(words, (0, slack(max(1, channels // 64)))), (moved == 0).any(axis=(1, 2)).astype(np.uint8)


def laid_out(signs):
    return lay_out(signs.transpose(0, 2, 3, 1), group=GROUP), border_sums(signs.transpose(0, 2, 3, 1))


def neutral(channels):
    """A table after which a convolution's sum, plus the shortcut, is what comes out."""
    table = np.zeros((7, channels), np.float32)
    table[[0, 1, 4]] = 1
    return table


def as_torch(x):
    return torch.from_numpy(x.transpose(2, 0, 1)[None].copy())


def simulated_block(x, shift, first, second, table1, table2, step):
    """The block in float32, (outputs, h, w): exact sums, then one rounding an operation."""
    signs = as_torch(x + shift).sign()
    real = as_torch(x)
    shortcut = F.avg_pool2d(real, 2) if step == 2 else real
    sums = F.conv2d(signs, torch.from_numpy(np.where(first, 1.0, -1.0).astype(np.float32)), None, step, 1)
    middle = finished(sums, shortcut, table1)
    sums = F.conv2d(
        (middle + column(table1[6])).sign(), torch.from_numpy(np.where(second, 1.0, -1.0).astype(np.float32))
    )
    return finished(sums, middle.repeat(1, len(second) // middle.shape[1], 1, 1), table2)


def column(numbers):
    return torch.from_numpy(numbers).view(1, -1, 1, 1)


def finished(sums, shortcut, table):
    alpha, scale, offset, shift, slope, after, _ = map(column, table)
    fused = (
        sums * alpha
    ).double() * scale.double() + offset.double()  # exact in double: one rounding, as a fma
    x = fused.float() + shortcut + shift
    return torch.where(x > 0, x, slope * x) + after


def run_block(x, shift, first, second, table1, table2, step, *, parts=1):
    h, w, inputs = x.shape
    outputs, oh, ow = len(second), -(-h // step), -(-w // step)
    bits, zeros = pack_map(x, shift)
    out, words = np.empty(oh * ow * outputs, np.float32), max(1, outputs // 64)
    out_bits = np.zeros((oh + 2) * (ow + 2) * words + slack(words), np.uint64)
    out_zeros = np.zeros(oh, np.uint8)
    w1, b1 = laid_out(first)
    w2, b2 = laid_out(second)
    given_ = (x.ravel(), bits, zeros, shift, h, w, inputs, outputs, step, w1, b1, table1.ravel(), w2, b2)
    for part in range(parts):
        block_rows(
            *given_, table2.ravel(), out, out_bits.view(np.uint32), out_zeros,
            oh * part // parts, oh * (part + 1) // parts,
        )  # fmt: skip
    return out.reshape(oh, ow, outputs), out_bits, out_zeros


@st.composite
def blocks(draw):
    """A map with some exact zeros, and the weights of a block over it."""
    inputs, doubles, step = (
        draw(st.sampled_from([32, 64, 128])),
        draw(st.booleans()),
        draw(st.sampled_from([1, 2])),
    )
    h, w = (draw(st.integers(1, 9)) * step for _ in range(2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.integers(-3, 4, (h, w, inputs)).astype(np.float32)
    if draw(st.booleans()):
        x += 0.5  # no zeros at all
    outputs = 2 * inputs if doubles else inputs
    first = rng.random((inputs, inputs, 3, 3)) < draw(st.sampled_from([0.5, 0.9]))
    second = rng.random((outputs, inputs, 1, 1)) < 0.5
    shift = rng.integers(-1, 2, inputs).astype(np.float32)
    return x, shift, first, second, step, rng


@settings(max_examples=40, deadline=None)
@given(blocks())
def test_binary_convolutions_are_those_of_torch(case):
    x, shift, first, second, step, _ = case
    tables = neutral(len(first)), neutral(len(second))
    out, bits, zeros = run_block(x, shift, first, second, *tables, step)
    expected = simulated_block(x, shift, first, second, *tables, step)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(out, expected)  # whole numbers and quarters: exact
    their_bits, their_zeros = pack_map(expected, np.zeros(expected.shape[2], np.float32))
    np.testing.assert_array_equal(bits, their_bits)
    np.testing.assert_array_equal(zeros, their_zeros)


@settings(max_examples=20, deadline=None)
@given(blocks(), st.integers(1, 4))
def test_what_follows_a_convolution_is_rounded_as_torch_rounds_it(case, parts):
    x, shift, first, second, step, rng = case
    tables = [rng.standard_normal((7, len(k))).astype(np.float32) for k in (first, second)]
    out, _, _ = run_block(x, shift, first, second, *tables, step, parts=parts)
    expected = simulated_block(x, shift, first, second, *tables, step)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (1, 1), (33, 18)])
def test_the_first_convolution_is_that_of_torch(size):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((3, *size)).astype(np.float32)
    kernel = rng.standard_normal((32, 3, 3, 3)).astype(np.float32)
    table = np.stack([np.ones(32), np.zeros(32), np.zeros(32)]).astype(np.float32)
    h, w = ((n + 1) // 2 for n in size)
    out, bits = np.empty((h, w, 32), np.float32), np.zeros((h + 2) * (w + 2) + slack(1), np.uint64)
    zeros = np.ones(h, np.uint8)
    weights = kernel.transpose(2, 3, 1, 0).ravel()
    stem_rows(image.ravel(), *size, weights, table.ravel(), out.ravel(), bits.view(np.uint32), zeros, 0, h)
    expected = F.conv2d(torch.from_numpy(image)[None], torch.from_numpy(kernel), None, 2, 1)[0]
    np.testing.assert_allclose(out, expected.permute(1, 2, 0).numpy(), atol=1e-5)
    np.testing.assert_array_equal(bits, pack_map(out, np.zeros(32, np.float32))[0])
    assert not zeros.any()


def test_the_first_convolution_reports_rows_with_zeros():
    image, table = np.zeros((3, 8, 8), np.float32), np.zeros((3, 32), np.float32)
    table[2, 1:] = 1
    out, bits, zeros = (
        np.empty(4 * 4 * 32, np.float32),
        np.zeros(6 * 6 + slack(1), np.uint64),
        np.zeros(4, np.uint8),
    )
    stem_rows(
        image.ravel(),
        8,
        8,
        np.ones(27 * 32, np.float32),
        table.ravel(),
        out,
        bits.view(np.uint32),
        zeros,
        0,
        3,
    )
    assert zeros.tolist() == [1, 1, 1, 0]  # the last row was not asked for
    assert bits[7] == 0xFFFFFFFE


def test_weights_are_laid_out_group_by_group_and_back():
    rng = np.random.default_rng(0)
    signs = rng.random((64, 3, 3, 128)) < 0.5
    words = lay_out(signs, group=32).reshape(2, 3, 3, 2, 32)
    bit = words[1, 2, 0, 1, 5] >> np.uint64(7) & np.uint64(1)
    assert bit == signs[32 + 5, 2, 0, 64 + 7]
    packed = np.packbits(signs.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(unpack(packed, inputs=128, outputs=64, kernel=3), signs)


def test_a_change_of_the_instructions_changes_the_file_that_numba_looks_at():
    instructions = Path(binary.__file__).with_name("binary_vectors.py").read_bytes()
    assert hashlib.sha256(instructions).hexdigest()[:16] == binary.VECTORS  # else: put the new one there
