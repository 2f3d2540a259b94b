import copy
import json

import numpy as np
import pytest
import timm
import torch
from torch import nn

from extract.errors import RequestError
from extract.networks import find_network
from extract.reactnet import CHANNELS, BinaryConv, Block, ReActNetA, Shift, Stem
from extract.weights import WeightSettings, find

BLUEPRINT = find_network("reactnet_a").blueprint


def settle(network, seed=0):
    """Give shifts, slopes and batch norms values as training would, none of them neutral."""
    draw = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.dtype == torch.float32 and not name.endswith(("weights", "conv1.weight", "fc.weight")):
            value.copy_(torch.rand(value.shape, generator=draw) * 0.5 + 0.25)
            if name.endswith(("bias", "running_mean")):
                value.sub_(0.5)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return settle(ReActNetA())


def images(n=2, size=64):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


# -- the published checkpoint --------------------------------------------------------------------------------


def test_keys_and_shapes_are_those_of_the_published_checkpoint(network, shared):
    published = json.loads(shared("reference/reactnet_a_state_dict.json").read_text())
    own = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert own == published
    assert list(own) == list(published)


def test_the_number_of_parameters_is_the_published_one(network):
    assert sum(value.numel() for value in network.parameters()) == 29_343_592


def test_the_strides_are_those_of_the_paper(network):
    stem, *blocks = network.feature
    assert isinstance(stem, Stem)
    assert [block.stride for block in blocks] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    assert [block.binary_3x3.shape[0] for block in blocks] == list(CHANNELS[:-1])


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    """Save the network as its authors do; 117 MB, deleted at once after the tests."""
    folder = tmp_path_factory.mktemp("checkpoint")
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save(
        {"epoch": 255, "state_dict": state, "best_top1_acc": torch.tensor(69.4)}, folder / "reactnet_a.pth"
    )
    yield folder
    (folder / "reactnet_a.pth").unlink()


def test_the_official_form_loads_whole(network, checkpoint):
    loaded = find(BLUEPRINT, settings=WeightSettings(directory=checkpoint), head=True)
    assert loaded.kind == "directory"
    got, expected = loaded.network.state_dict(), network.state_dict()
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[key], expected[key]) for key in expected)
    with torch.inference_mode():
        logits = loaded.network.eval()(images(size=32))
        assert torch.equal(logits, network(images(size=32)))
    assert logits.shape == (2, 1000)


def test_the_official_form_gives_features_without_the_head(network, checkpoint):
    loaded = find(BLUEPRINT, settings=WeightSettings(directory=checkpoint), head=False)
    with torch.inference_mode():
        features = loaded.network.eval()(images(size=32))
        logits = network(images(size=32))
    assert features.shape == (2, 1024)
    torch.testing.assert_close(network.fc(features), logits)


def test_the_weights_of_mobilenetv2_are_refused(tmp_path):
    torch.save({"state_dict": timm.create_model("mobilenetv2_100").state_dict()}, tmp_path / "reactnet_a.pth")
    settings = WeightSettings(directory=tmp_path, policy="auto")
    with pytest.raises(RequestError, match=r"keys and shapes of ReActNetA .* 29\d missing .*left over"):
        find(BLUEPRINT, settings=settings, head=False).network  # noqa: B018


# -- binary weights and activations --------------------------------------------------------------------------


def recorded(network, x):
    """Run a forward pass; return the input of each binary convolution and the output of each shift, by name."""
    inputs, shifted, hooks = {}, {}, []
    for name, layer in network.named_modules():
        if isinstance(layer, BinaryConv):
            hooks.append(layer.register_forward_pre_hook(lambda _, args, n=name: inputs.update({n: args[0]})))
        if isinstance(layer, Shift):
            hooks.append(layer.register_forward_hook(lambda _, args, out, n=name: shifted.update({n: out})))
    with torch.inference_mode():
        network(x)
    for hook in hooks:
        hook.remove()
    return inputs, shifted


def shift_before(name):
    block, _, layer = name.rpartition(".")
    return f"{block}.move11" if layer == "binary_3x3" else f"{block}.move21"


def test_every_binary_convolution_sees_signs_in_a_real_forward_pass(network):
    inputs, shifted = recorded(network, images())
    assert len(inputs) == 13 + 8 + 2 * 5
    for name, signs in inputs.items():
        before = shifted[shift_before(name)]
        assert set(signs.unique().tolist()) <= {-1.0, 0.0, 1.0}, name
        assert torch.equal(signs == 0, before == 0), name
        assert torch.equal(signs, torch.where(before > 0, 1.0, torch.where(before < 0, -1.0, 0.0))), name
        assert {-1.0, 1.0} <= set(signs.unique().tolist()), name


def test_an_input_of_exactly_zero_stays_zero():
    block = settle(Block(2, 2, stride=1))
    x = torch.tensor([-1.0, 0.5, 0.0, 2.0]).view(1, 1, 2, 2).repeat(1, 2, 1, 1)
    block.move11.bias.data = torch.tensor([0.0, -0.5]).view(1, 2, 1, 1)
    inputs, _ = recorded(block, x)
    assert inputs["binary_3x3"].view(2, 4).tolist() == [[-1, 1, 0, 1], [-1, 0, -1, 1]]


def test_every_weight_becomes_its_sign_times_its_channels_mean_magnitude(network):
    layers = [layer for layer in network.modules() if isinstance(layer, BinaryConv)]
    assert len(layers) == 13 + 8 + 2 * 5
    for layer in layers:
        real = layer.weights.view(layer.shape)
        alpha = real.abs().mean(dim=(1, 2, 3), keepdim=True)
        signs = torch.where(real < 0, -1.0, 1.0)
        torch.testing.assert_close(layer.kernel(), alpha * signs, rtol=1e-6, atol=0)


def has_two_values_per_channel(layer):
    flat = layer.kernel().flatten(1)
    low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    return bool(((flat == low) | (flat == high)).all() and torch.equal(low, -high))


def test_a_kernel_has_two_values_per_output_channel():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert has_two_values_per_channel(BinaryConv(8, 8, kernel=3))


def test_a_kernel_has_two_values_per_output_channel_though_a_weight_is_zero():
    layer = BinaryConv(8, 8, kernel=3)
    layer.weights.data[5] = 0.0
    assert has_two_values_per_channel(layer)


def test_every_kernel_of_a_network_has_two_values_per_output_channel(network):
    for layer in network.modules():
        assert not isinstance(layer, BinaryConv) or has_two_values_per_channel(layer)


def test_no_other_convolution_is_real_but_the_first(network):
    assert [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)] == [
        "feature.0.conv1"
    ]


# -- against a slow computation ------------------------------------------------------------------------------


def array(parameter):
    return parameter.detach().double().numpy()


def slow_conv(layer, x):
    """Binary convolution, (c, h, w) -> (o, h', w'), one output pixel at a time."""
    outputs, inputs, k, _ = layer.shape
    real = array(layer.weights).reshape(outputs, inputs * k * k)
    kernel = np.abs(real).mean(axis=1, keepdims=True) * np.sign(real)
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    rows, columns = (range(0, side, layer.stride) for side in x.shape[1:])
    result = [[kernel @ padded[:, i : i + k, j : j + k].ravel() for j in columns] for i in rows]
    return np.array(result).transpose(2, 0, 1)


def per_channel(parameter):
    return array(parameter).reshape(-1, 1, 1)


def slow_norm(layer, x):
    scaled = (x - per_channel(layer.running_mean)) / np.sqrt(per_channel(layer.running_var) + layer.eps)
    return scaled * per_channel(layer.weight) + per_channel(layer.bias)


def slow_rprelu(before, slope, after, x):
    x = x + per_channel(before.bias)
    return np.where(x > 0, x, per_channel(slope.weight) * x) + per_channel(after.bias)


def slow_block(block, x):
    """The block as the paper draws it (figure 4), one image (c, h, w) in float64."""
    signs = np.sign(x + per_channel(block.move11.bias))
    c, h, w = x.shape
    short = x.reshape(c, h // 2, 2, w // 2, 2).mean(axis=(2, 4)) if block.stride == 2 else x
    x = slow_norm(block.bn1, slow_conv(block.binary_3x3, signs)) + short
    x = slow_rprelu(block.move12, block.prelu1, block.move13, x)
    signs = np.sign(x + per_channel(block.move21.bias))
    if block.doubles:
        first = slow_norm(block.bn2_1, slow_conv(block.binary_pw_down1, signs)) + x
        second = slow_norm(block.bn2_2, slow_conv(block.binary_pw_down2, signs)) + x
        x = np.concatenate([first, second])
    else:
        x = slow_norm(block.bn2, slow_conv(block.binary_pw, signs)) + x
    return slow_rprelu(block.move22, block.prelu2, block.move23, x)


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride"), [(6, 6, 1), (4, 8, 1), (4, 8, 2)], ids=["plain", "doubling", "halving"]
)
def test_a_block_computes_what_the_paper_says(inputs, outputs, stride):
    block = settle(Block(inputs, outputs, stride=stride)).double()
    x = torch.randn(2, inputs, 6, 8, generator=torch.Generator().manual_seed(2)).double()
    with torch.inference_mode():
        fast = block(x).numpy()
    np.testing.assert_allclose(
        fast, [slow_block(block, image.numpy()) for image in x], rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("place", [1, 2, 3])
def test_the_networks_own_blocks_compute_what_the_paper_says(network, place):
    block = copy.deepcopy(network.feature[place]).double()
    x = torch.randn(1, CHANNELS[place - 1], 4, 4, generator=torch.Generator().manual_seed(3)).double()
    with torch.inference_mode():
        fast = block(x)[0].numpy()
    np.testing.assert_allclose(fast, slow_block(block, x[0].numpy()), rtol=1e-9, atol=1e-9)


def test_the_network_is_its_blocks_pooled_and_classified(network):
    with torch.inference_mode():
        x = network.feature[0].bn1(network.feature[0].conv1(images(1)))
        for block in network.feature[1:]:
            x = block(x)
        assert x.shape == (1, 1024, 2, 2)
        torch.testing.assert_close(network(images(1)), network.fc(x.flatten(2).mean(dim=2)))


def test_random_binary_weights_have_both_signs():
    signs = BinaryConv(8, 8, kernel=3).weights.sign()
    assert 0.3 < (signs > 0).float().mean() < 0.7


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_sums_of_signs_are_exact_before_they_are_scaled(kernel, stride):
    draw = torch.Generator().manual_seed(0)
    layer = BinaryConv(256, 8, kernel=kernel, stride=stride)
    x = torch.randint(-1, 2, (2, 256, 7, 7), generator=draw).float()
    with torch.inference_mode():
        exact = nn.functional.conv2d(x.double(), layer.signs().double(), None, stride, kernel // 2)
        assert torch.equal(layer(x), exact.float() * layer.alpha().view(1, -1, 1, 1))
