"""How fast ReActNet-A is from packed bits, beside its simulation in float32, and whether both say the same.

    python -m benchmarks.speed.reactnet [--avx2]

All ways run on the same noise images of 224 pixels in one process, in turns. ``--avx2`` compiles for a processor that
has AVX2 and no instruction that counts bits in a vector; PyTorch is held to AVX2, too, OpenVINO is left out.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numba
import numpy as np
import numpy.typing as npt
import torch

from extract.binary import count_row, slack, stem_rows
from extract.binary_vectors import PIXELS
from extract.binary_weights import BLOCKS
from extract.compute import import_openvino
from extract.packed_reactnet import PackedReActNet, map_sizes
from extract.reactnet import ReActNetA

BATCH = 16
TARGETS = {BATCH: 8, 1: 20}
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
Images = npt.NDArray[np.float32]
Way = Callable[[Images], object]


def make_network(seed: int = 0) -> ReActNetA:
    """Make a network without a head, its shifts, slopes and batch norms as training could leave them."""
    torch.manual_seed(seed)
    network = ReActNetA()
    for name, value in network.named_parameters():
        if value.ndim == 4 or name.endswith(("weights", "fc.weight")):
            continue
        torch.nn.init.normal_(value, 0.25 if "prelu" in name else 0.0, 0.1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = None  # the mean over all batches
    network.reset_classifier(0)
    with torch.no_grad():
        network(torch.from_numpy(make_images(BATCH, seed=1)))  # statistics of batch norms
    return network.eval().requires_grad_(False)


def make_images(count: int, *, seed: int) -> Images:
    """Draw noise, coarse and fine: (count, 3, 224, 224)."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, 3, 14, 14)).repeat(16, axis=2).repeat(16, axis=3)
    return (coarse + 0.3 * rng.standard_normal((count, 3, 224, 224))).astype(np.float32)


def in_turns(ways: dict[str, Way], images: Images, *, turns: int, calls: int) -> dict[str, float]:
    """Return images/s of each way in the shortest of its calls: what else a machine does only takes time.

    A turn is several calls, because idle threads of the way before still spin during the first.
    """
    took: dict[str, float] = dict.fromkeys(ways, float("inf"))
    for _ in range(turns):
        for name, way in ways.items():
            took[name] = min(took[name], shortest(lambda way=way: way(images), turns=calls))  # type: ignore[misc]
    return {name: 1000 * len(images) / best for name, best in took.items()}


def simulation(network: ReActNetA) -> Way:
    """Eager PyTorch, as the network is written."""

    def run(images: Images) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(images)).numpy())

    return run


def compiled_simulation(network: ReActNetA, count: int) -> Way:
    """The simulation as OpenVINO compiles it, in float32, its kernels constant."""
    openvino = import_openvino()
    model = openvino.convert_model(network, example_input=torch.zeros(count, 3, 224, 224))
    model.reshape([count, 3, 224, 224])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda images: request.infer([images])


def print_throughput(network: ReActNetA, *, with_openvino: bool) -> None:
    """Compare all ways at both batch sizes."""
    packed = {threads: PackedReActNet.from_network(network, threads=threads) for threads in (2, 1)}
    for count, calls in ((BATCH, 1), (1, 8)):
        images = make_images(count, seed=2)
        ways: dict[str, Way] = {"simulation, eager": simulation(network)}
        ways |= {f"packed, threads: {threads}": net for threads, net in packed.items()}
        if with_openvino:
            ways["simulation, OpenVINO f32"] = compiled_simulation(network, count)
        rates = in_turns(ways, images, turns=3, calls=calls)
        for name, rate in rates.items():
            ratio = rate / rates["simulation, eager"]
            target = f"(target: at least {TARGETS[count]})" if name == "packed, threads: 2" else ""
            print(f"batch {count:2d}  {name:25s} {rate:7.1f} images/s {ratio:6.1f} x {target}".rstrip())


def print_agreement(network: ReActNetA) -> None:
    """Compare features, and the space of the binary weights."""
    packed, images = PackedReActNet.from_network(network), make_images(4 * BATCH, seed=3)
    expected = [simulation(network)(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    gap = np.abs(packed(images) - np.concatenate([np.asarray(part) for part in expected])).max()
    print(f"largest difference of a feature over {len(images)} images: {gap:.1e} (target: at most 1e-4)")
    bits = sum(array.nbytes for name, array in packed.arrays().items() if name.endswith("signs"))
    real = sum(value.nbytes for name, value in network.named_parameters() if name.endswith("weights"))
    print(f"binary weights: {bits:,} bytes packed, {real:,} as float32: 1/{real / bits:g}")


@numba.njit
def count_rows(bits, weights, height, width, kernel, words, step, outputs, counts):  # type: ignore[no-untyped-def]
    """Count the differing places of a whole binary convolution, and nothing else."""
    pitch = (width * step + kernel - 1) * words
    for y in range(height):
        count_row(bits, y * step * pitch, pitch, kernel, words, step, weights, outputs, width, counts)


def time_counts(kernel: int) -> float:
    """Time the counts of all convolutions of one kernel size for one image on one thread, ms."""
    rng, total = np.random.default_rng(0), 0.0
    for (inputs, outputs, stride), size in zip(BLOCKS, map_sizes(224)[1:], strict=True):
        words, step = max(1, inputs // 64), stride if kernel == 3 else 1
        made = inputs if kernel == 3 else outputs
        side = size * step + kernel - 1
        bits = rng.integers(0, 2**63, side * side * words + slack(words), np.uint64)
        weights = rng.integers(0, 2**63, kernel * kernel * words * made, np.uint64)
        counts = np.empty((size + PIXELS) * made, np.int32)
        given = (bits, weights, size, size, kernel, words, step, made, counts)
        total += shortest(lambda given=given: count_rows(*given))  # type: ignore[misc]
    return total


def time_stem() -> float:
    """Time the first convolution of one image on one thread, ms."""
    weights, table = np.ones(27 * 32, np.float32), np.ones(3 * 32, np.float32)
    out, bits = np.empty(112 * 112 * 32, np.float32), np.zeros(114 * 114 * 2, np.uint32)
    image, zeros = make_images(1, seed=0).ravel(), np.zeros(112, np.uint8)
    return shortest(lambda: stem_rows(image, 224, 224, weights, table, out, bits, zeros, 0, 112))


def shortest(work: Callable[[], object], *, turns: int = 20) -> float:
    """Return the shortest of some turns, ms."""
    work()
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def print_parts(network: ReActNetA) -> None:
    """Say where the time of one image goes on one thread; what stands between convolutions is the difference."""
    packed, image = PackedReActNet.from_network(network, threads=1), make_images(1, seed=2)
    whole = shortest(lambda: packed(image))
    parts = {"first convolution": time_stem(), "binary 3x3": time_counts(3), "binary 1x1": time_counts(1)}
    parts["elementwise, packing, memory, head, calls"] = whole - sum(parts.values())
    for name, took in {**parts, "whole": whole}.items():
        print(f"{name:42s} {took:6.2f} ms an image on one thread")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--avx2", action="store_true")
    if parser.parse_args().avx2:
        command = [sys.executable, "-m", "benchmarks.speed.reactnet"]
        raise SystemExit(subprocess.run(command, env=os.environ | AVX2, check=False).returncode)
    torch.set_num_threads(2)
    network = make_network()
    print_throughput(network, with_openvino="NUMBA_CPU_NAME" not in os.environ)
    print_agreement(network)
    print_parts(network)


if __name__ == "__main__":
    main()
