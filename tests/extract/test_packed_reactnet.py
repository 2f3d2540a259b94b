"""The packed network against its float simulation, bit by bit where that is what is said."""

import multiprocessing
import threading

import numpy as np
import pytest
import torch
from numba.core import config

from extract.reactnet import ReActNetA

if config.DISABLE_JIT:
    pytest.skip("vector instructions need Numba's compiler", allow_module_level=True)

from extract.packed_reactnet import PackedReActNet, map_sizes


def settled(seed):
    """A network whose shifts, slopes, batch norms and some weights are as training could leave them."""
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ReActNetA()
    for name, value in network.state_dict().items():
        if name.endswith("weights"):
            value[::7] = 0  # exactly zero: counts as positive
        elif value.dtype == torch.float32 and not name.endswith(("conv1.weight", "fc.weight")):
            value.copy_(torch.rand(value.shape, generator=draw) * 0.5 + 0.25)
            if name.endswith(("bias", "running_mean")):
                value.sub_(0.5)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network():
    return settled(0)


@pytest.fixture(scope="module")
def packed(network):
    return PackedReActNet.from_network(network, threads=2)


def images(n=2, h=64, w=64, seed=1):
    return np.random.default_rng(seed).standard_normal((n, 3, h, w)).astype(np.float32)


def simulated(network, x):
    with torch.inference_mode():
        return network(torch.from_numpy(x)).numpy()


# -- parity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (96, 96), (32, 128), (31, 32), (48, 48), (48, 64), (224, 224)])
def test_features_are_those_of_the_simulation(network, packed, size):
    x = images(2, *size)
    np.testing.assert_allclose(packed(x), simulated(network, x), atol=1e-4)


@pytest.mark.parametrize("seed", [1, 2])
def test_features_without_a_head_are_those_of_the_simulation(seed):
    network = settled(seed)
    network.reset_classifier(0)
    x, packed = images(seed=seed), PackedReActNet.from_network(network)
    assert packed.dim == 1024
    np.testing.assert_allclose(packed(x), simulated(network, x), atol=1e-4)


def test_the_sign_of_exactly_zero_is_zero():
    network = settled(3)
    network.feature[0].bn1.bias.zero_()  # a black square gives zeros, on every other channel
    network.feature[0].bn1.running_mean.zero_()
    network.feature[1].move11.bias[:, ::2] = 0
    x = images(2)
    x[:, :, 16:48, 20:40] = 0
    seen = []
    network.feature[1].binary_3x3.register_forward_hook(lambda _, given, out: seen.append(given[0] == 0))
    np.testing.assert_allclose(PackedReActNet.from_network(network)(x), simulated(network, x), atol=1e-4)
    assert 0 < seen[0].float().mean() < 1  # some, not all


def test_zeros_inside_a_block_and_between_blocks_are_zero_too():
    network = settled(4)
    for block in network.feature[1:]:
        block.prelu1.weight.zero_()  # as ReLU: half of all numbers are exactly zero
        block.prelu2.weight[::2] = 0
        for shift in (block.move13, block.move21, block.move23, block.move11):
            shift.bias.zero_()
    x = images(1)
    np.testing.assert_allclose(PackedReActNet.from_network(network)(x), simulated(network, x), atol=1e-4)


# -- determinism ---------------------------------------------------------------------------------------------


def test_a_face_gives_the_same_bits_in_every_batch_and_with_every_number_of_threads(packed, network):
    x = images(5)
    whole = packed(x)
    for threads in (1, 2, 3, 4):
        other = PackedReActNet(packed.arrays(), threads=threads)
        np.testing.assert_array_equal(other(x), whole)
        np.testing.assert_array_equal(other(x[3:4])[0], whole[3])
        np.testing.assert_array_equal(other(x[::-1])[::-1], whole)


def test_images_of_other_sizes_in_between_change_nothing(packed):
    x = images()
    before = packed(x)
    packed(images(3, 96, 32))
    np.testing.assert_array_equal(packed(x), before)


def test_callers_in_several_threads_do_not_disturb_each_other(packed):
    x, got = images(), {}
    expected = packed(x)
    callers = [threading.Thread(target=lambda i=i: got.update({i: packed(x)})) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for i in range(4):
        np.testing.assert_array_equal(got[i], expected)


def _in_child(packed, x, queue):
    queue.put(packed(x))


def test_a_fork_after_use_still_computes(packed):
    x = images()
    expected, context = packed(x), multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(packed, x, queue))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), expected)
    child.join()


# -- arrays --------------------------------------------------------------------------------------------------


def test_binary_weights_take_a_thirty_second_of_their_float32_space(network, packed):
    binary = sum(array.nbytes for name, array in packed.arrays().items() if name.endswith("signs"))
    real = sum(value.nbytes for name, value in network.named_parameters() if name.endswith("weights"))
    assert binary * 32 == real


def test_arrays_make_the_same_network(packed):
    np.testing.assert_array_equal(PackedReActNet.from_arrays(packed.arrays())(images()), packed(images()))


def test_a_saved_network_is_the_same_network(packed, tmp_path):
    packed.save(tmp_path / "packed.safetensors")
    loaded = PackedReActNet.load(tmp_path / "packed.safetensors")
    np.testing.assert_array_equal(loaded(images()), packed(images()))
    assert loaded.arrays().keys() == packed.arrays().keys()
    assert (tmp_path / "packed.safetensors").stat().st_size < 10e6


def test_no_images_give_no_features(packed):
    assert packed(images(0)).shape == (0, 1000)


def test_images_in_any_memory_order_are_taken(packed):
    x = images()
    np.testing.assert_array_equal(packed(np.asfortranarray(x)), packed(x))


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x", [np.zeros((1, 64, 64, 3), np.float32), np.zeros((3, 64, 64), np.float32), np.zeros((1, 3, 64, 64))]
)
def test_other_images_are_refused(packed, x):
    with pytest.raises(ValueError, match=r"Expected images \(n, 3, h, w\) float32; got"):
        packed(x)


@pytest.mark.parametrize("size", [0, 2, 16, 40, 72, 112])
def test_sizes_whose_shortcuts_do_not_fit_are_refused(packed, size):
    with pytest.raises(ValueError, match=f"Expected a size whose maps can be halved four times; got {size},"):
        packed(images(1, size, 64))


@pytest.mark.filterwarnings("ignore:.*meta")
def test_sizes_are_taken_or_refused_as_the_simulation_does():
    network = ReActNetA().eval().requires_grad_(False).to("meta")  # shapes alone
    for size in [*range(1, 20), 31, 32, 33, 47, 48, 49, 64, 80, 96, 112]:
        try:
            network(torch.empty(1, 3, size, 32, device="meta"))
        except RuntimeError:
            with pytest.raises(ValueError, match="Expected a size"):
                map_sizes(size)
        else:
            assert map_sizes(size)


def test_arrays_of_another_network_are_refused(packed):
    arrays = packed.arrays()
    with pytest.raises(ValueError, match=r"Expected block3.first.table of shape \(7, 128\) float32; got"):
        PackedReActNet(arrays | {"block3.first.table": np.zeros((7, 64), np.float32)})
    del arrays["stem.table"]
    with pytest.raises(ValueError, match=r"Expected the 56 arrays .* missing or too many: stem.table"):
        PackedReActNet(arrays)


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_threads_than_one_are_refused(packed, threads):
    with pytest.raises(ValueError, match=f"Expected at least one thread; got {threads}"):
        PackedReActNet(packed.arrays(), threads=threads)


def test_a_network_in_training_is_refused():
    with pytest.raises(ValueError, match="Expected a network in evaluation mode"):
        PackedReActNet.from_network(ReActNetA())
