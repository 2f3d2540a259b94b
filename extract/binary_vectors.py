"""The vector instructions of `extract.binary`, which Numba has no words for: LLVM's, for any processor.

Numbers in the names of arguments: `at`, `to` and the like count elements of the flat array before them. Numba's cache
knows the file of a compiled function only: `extract.binary.VECTORS` changes with this one.
"""

# mypy: allow-untyped-calls, allow-untyped-defs
# (Numba and llvmlite have no types.)

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

PIXELS = 7  # a tile's; every map of a 224-pixel image is a multiple of it wide
_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
_FLOATS, _WHOLE = ir.VectorType(_F32, 32), ir.VectorType(_I32, 32)
_ZEROS = ir.Constant(_FLOATS, [0.0] * 32)
_N = types.intp


def _vector_shape() -> tuple[int, int]:
    """Return words a vector and vectors a tile: counting instructions on 512 bits, or registers for AVX2."""
    features = config.CPU_FEATURES  # type: ignore[attr-defined]
    if features is None:
        features = binding.get_host_cpu_features().flatten()
    return (8, 4) if "+avx512vpopcntdq" in features else (4, 1)


LANES, VECTORS = _vector_shape()
GROUP = LANES * VECTORS  # output channels a tile


class _Builder:
    """An instruction builder inside an intrinsic, with its arguments by number."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.context, self.ir, self.kinds, self.args = context, builder, signature.args, args

    def place(self, array: int, index: Any) -> Any:
        made = self.context.make_array(self.kinds[array])(self.context, self.ir, self.args[array])
        return self.ir.gep(made.data, [index])

    def load(self, array: int, index: Any, kind: Any) -> Any:
        return self.ir.load(self.ir.bitcast(self.place(array, index), kind.as_pointer()), align=4)

    def store(self, value: Any, array: int, index: Any) -> None:
        self.ir.store(value, self.ir.bitcast(self.place(array, index), value.type.as_pointer()), align=4)

    def spread(self, array: int, index: Any, kind: Any) -> Any:
        """One element in every lane."""
        value, nothing = self.ir.load(self.place(array, index)), ir.Constant(kind, ir.Undefined)
        first = self.ir.insert_element(nothing, value, ir.Constant(_I32, 0))
        lanes = ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count)
        return self.ir.shuffle_vector(first, nothing, lanes)

    def count_ones(self, words: Any) -> Any:
        return self._call(f"llvm.ctpop.v{LANES}i64", words)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        return self._call("llvm.fma.v32f32", x, y, z)

    def _call(self, name: str, *values: Any) -> Any:
        made = ir.FunctionType(values[0].type, [value.type for value in values])
        return self.ir.call(cgutils.get_or_insert_function(self.ir.module, made, name), values)

    def at(self, start: Any, *steps: Any) -> Any:
        """`start` + product of `steps`; Python's numbers among them are constants."""
        product = ir.Constant(_I64, 1)
        for step in steps:
            product = self.ir.mul(product, ir.Constant(_I64, step) if isinstance(step, int) else step)
        return self.ir.add(start, product)

    def store_signs(self, values: Any, array: int, index: Any) -> Any:
        """Store which of 32 numbers are positive as uint32; return which are exactly zero as int32."""
        self.store(self.ir.bitcast(self.ir.fcmp_ordered(">", values, _ZEROS), _I32), array, index)
        return self.ir.bitcast(self.ir.fcmp_ordered("==", values, _ZEROS), _I32)


def _made(signature: Any, generate: Callable[[_Builder], Any]) -> Any:
    return signature, lambda *context: generate(_Builder(*context))


@intrinsic
def count_tile(typing, bits, at, pitch, rows, length, step, weights, kernel, counts, to, outputs):
    """Twice the places that differ, PIXELS x GROUP int32, over `rows` stretches of `length` words, `pitch` apart.

    Pixels are `step` words apart in `bits` and `outputs` elements in `counts`.
    """
    kind, narrow = ir.VectorType(_I64, LANES), ir.VectorType(_I32, LANES)
    tile = [(p, v) for p in range(PIXELS) for v in range(VECTORS)]

    def generate(b: _Builder) -> Any:
        _, at, pitch, rows, length, step, _, kernel, _, to, outputs = b.args
        sums = {place: cgutils.alloca_once_value(b.ir, ir.Constant(kind, [0] * LANES)) for place in tile}
        tap = cgutils.alloca_once_value(b.ir, kernel)
        with cgutils.for_range(b.ir, rows) as row, cgutils.for_range(b.ir, length) as word:
            here, now = b.ir.add(b.at(at, row.index, pitch), word.index), b.ir.load(tap)
            b.ir.store(b.at(now, GROUP), tap)
            taps = [b.load(6, b.at(now, v * LANES), kind) for v in range(VECTORS)]
            for p in range(PIXELS):
                signs = b.spread(0, b.at(here, step, p), kind)
                for v in range(VECTORS):
                    differ = b.count_ones(b.ir.xor(signs, taps[v]))
                    b.ir.store(b.ir.add(b.ir.load(sums[p, v]), differ), sums[p, v])
        for p, v in tile:
            twice = b.ir.shl(b.ir.load(sums[p, v]), ir.Constant(kind, [1] * LANES))
            b.store(b.ir.trunc(twice, narrow), 8, b.at(b.at(to, outputs, p), v * LANES))
        return b.context.get_dummy_value()

    made = types.void(bits, _N, _N, _N, _N, _N, weights, _N, counts, _N, _N)
    return _made(made, generate)


@intrinsic
def finish_32(
    typing, counts, count, base, sum_, table, channel, channels, shortcut, source, sources, out, to, bits, word, words,
    pixels,
):  # fmt: skip
    """Batch norm, shortcut and RPReLU of 32 channels of `pixels` with one base; stored with their signs.

    Pixels are `channels` elements apart in `counts` and `out`, `sources` in `shortcut`, `words` in `bits` (uint32).
    Returns int32, not 0 where a next input is exactly zero.
    """

    def generate(b: _Builder) -> Any:
        _, count, _, sum_, _, channel, channels, _, source, sources, _, to, _, word, words, pixels = b.args
        alpha, scale, offset, shift, slope, after, following = (
            b.load(4, b.ir.add(channel, b.ir.mul(channels, ir.Constant(_I64, row))), _FLOATS)
            for row in range(7)
        )
        whole = b.load(2, sum_, _WHOLE)
        zeros = cgutils.alloca_once_value(b.ir, ir.Constant(_I32, 0))
        with cgutils.for_range(b.ir, pixels) as pixel:
            i = pixel.index
            sums = b.ir.sub(whole, b.load(0, b.at(count, i, channels), _WHOLE))
            x = b.fma(b.ir.fmul(b.ir.sitofp(sums, _FLOATS), alpha), scale, offset)
            x = b.ir.fadd(b.ir.fadd(x, b.load(7, b.at(source, i, sources), _FLOATS)), shift)
            positive = b.ir.fcmp_ordered(">", x, _ZEROS)
            x = b.ir.fadd(b.ir.select(positive, x, b.ir.fmul(x, slope)), after)
            b.store(x, 10, b.at(to, i, channels))
            found = b.store_signs(b.ir.fadd(x, following), 12, b.at(word, i, words))
            b.ir.store(b.ir.or_(b.ir.load(zeros), found), zeros)
        return b.ir.load(zeros)

    made = types.int32(
        counts, _N, base, _N, table, _N, _N, shortcut, _N, _N, out, _N, bits, _N, _N, _N
    )  # fmt: skip
    return _made(made, generate)


@intrinsic
def stem_32(typing, rows, at, pitch, weights, table, out, to, bits, word):
    """First convolution and batch norm of a pixel: 27 products, added in the order row, column, colour.

    `rows` holds 3 x 3 lines (row, colour) `pitch` apart. Returns int32, not 0 where a next input is exactly zero.
    """

    def generate(b: _Builder) -> Any:
        _, at, pitch, _, _, _, to, _, word = b.args
        x = _ZEROS
        for tap in range(27):
            line, column, colour = tap // 9, tap // 3 % 3, tap % 3
            pixels = b.spread(0, b.at(b.at(at, pitch, 3 * line + colour), column), _FLOATS)
            x = b.fma(pixels, b.load(3, ir.Constant(_I64, 32 * tap), _FLOATS), x)
        scale, offset, shift = (b.load(4, ir.Constant(_I64, 32 * row), _FLOATS) for row in range(3))
        x = b.fma(x, scale, offset)
        b.store(x, 5, to)
        return b.store_signs(b.ir.fadd(x, shift), 7, word)

    return _made(types.int32(rows, _N, _N, weights, table, out, _N, bits, _N), generate)
