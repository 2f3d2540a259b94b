import subprocess

import pytest
import safetensors.torch
import torch
from torch import nn

from extract.errors import RequestError
from extract.state_dicts import in_order, load_strictly, read_state


def small(seed=0, width=4):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, 2))


def snapshot(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# -- reading -------------------------------------------------------------------------------------------------


def test_safetensors_round_trip(tmp_path):
    state = snapshot(small())
    safetensors.torch.save_file(state, tmp_path / "net.safetensors")
    assert same(read_state(tmp_path / "net.safetensors"), state)


@pytest.mark.parametrize("ending", ["pth", "pt"])
@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda state: state, id="plain"),
        pytest.param(lambda state: {"state_dict": state, "epoch": 3}, id="state_dict"),
        pytest.param(lambda state: {"model": state, "optimizer": {"lr": 0.1}}, id="model"),
        pytest.param(lambda state: {f"module.{k}": v for k, v in state.items()}, id="module"),
        pytest.param(
            lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
            id="state_dict of module",
        ),
    ],
)
def test_usual_wrappings_are_taken_off(tmp_path, wrap, ending):
    state = snapshot(small())
    torch.save(wrap(state), tmp_path / f"net.{ending}")
    assert same(read_state(tmp_path / f"net.{ending}"), state)


def test_a_module_prefix_on_some_keys_only_is_a_name(tmp_path):
    state = {"module.a": torch.ones(1), "b": torch.ones(2)}
    torch.save(state, tmp_path / "net.pth")
    assert same(read_state(tmp_path / "net.pth"), state)


class Harmful:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return subprocess.check_call, (["touch", str(self.marker)],)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": snapshot(small()), "extra": Harmful(tmp_path / "owned")}, tmp_path / "net.pth")
    with pytest.raises(RequestError, match=r"Expected a state dict in .*net\.pth; it cannot be read"):
        read_state(tmp_path / "net.pth")
    assert not (tmp_path / "owned").exists()


def test_a_whole_pickled_network_is_refused(tmp_path):
    torch.save(small(), tmp_path / "net.pth")
    with pytest.raises(RequestError, match="cannot be read"):
        read_state(tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("data", [b"", b"no weights at all", b"PK\x03\x04 cut off"])
def test_a_broken_file_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RequestError, match=f"{name}; it cannot be read"):
        read_state(tmp_path / name)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([torch.ones(1)], id="list"),
        pytest.param(torch.ones(3), id="tensor"),
        pytest.param({"a": 1, "b": torch.ones(1)}, id="not only tensors"),
        pytest.param(
            {0: torch.ones(1)},
            id="numbered",
        ),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "net.pth")
    with pytest.raises(RequestError, match="names to tensors"):
        read_state(tmp_path / "net.pth")


# -- strict loading ------------------------------------------------------------------------------------------


def test_a_matching_state_is_loaded_whole():
    network, state = small(0), snapshot(small(1))
    load_strictly(network, state, origin="file")
    assert same(network.state_dict(), state)


def without(state, key):
    return {k: v for k, v in state.items() if k != key}


MISMATCHES = {
    "missing": (lambda state: without(state, "3.bias"), r"1 missing \(3\.bias\)"),
    "left over": (lambda state: {**state, "4.weight": torch.ones(1)}, r"1 left over \(4\.weight\)"),
    "shape": (lambda state: {**state, "3.weight": torch.ones(3, 4)}, r"1 of another shape \(3\.weight\)"),
    "renamed": (
        lambda state: {**without(state, "3.bias"), "3.offset": state["3.bias"]},
        r"1 missing \(3\.bias\); 1 left over \(3\.offset\)",
    ),
    "nothing": (lambda state: {}, r"9 missing \(0\.weight, 0\.bias, 1\.weight, \.\.\.\)"),
}


@pytest.mark.parametrize(("spoil", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_a_mismatch_names_its_keys_and_loads_nothing(spoil, message):
    network = small(0)
    before = snapshot(network)
    with pytest.raises(RequestError, match=rf"Sequential in net\.pth; got {message}\."):
        load_strictly(network, spoil(snapshot(small(1))), origin="net.pth")
    assert same(network.state_dict(), before)


# -- by order ------------------------------------------------------------------------------------------------


def renamed(state):
    """Rename every tensor and drop the counter, as the packaged file does."""
    kept = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    return {f"layer{i}": value for i, value in enumerate(kept.values())}


def test_tensors_in_order_get_the_networks_names():
    network, state = small(0), snapshot(small(1))
    load_strictly(network, in_order(network, renamed(state), origin="file"), origin="file")
    assert same(
        without(network.state_dict(), "1.num_batches_tracked"), without(state, "1.num_batches_tracked")
    )


def test_counters_in_the_file_do_not_shift_the_order():
    state = snapshot(small(1))
    numbered = {f"x{key}" if key.endswith("tracked") else key: value for key, value in state.items()}
    assert same(in_order(small(0), numbered, origin="file"), state)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda s: without(s, "layer7"), id="one less"),
        pytest.param(lambda s: {**s, "layer8": torch.ones(2)}, id="one more"),
        pytest.param(lambda s: dict(reversed(s.items())), id="another order"),
        pytest.param(lambda s: {**s, "layer0": torch.ones(4, 3, 1, 1)}, id="another shape"),
    ],
)
def test_tensors_that_do_not_fit_in_order_are_refused(spoil):
    with pytest.raises(
        RequestError, match=r"Expected the 8 tensors of Sequential, in order, in file; got \d"
    ):
        in_order(small(), spoil(renamed(snapshot(small()))), origin="file")
