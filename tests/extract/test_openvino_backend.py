import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from extract import openvino_backend
from extract.errors import RequestError
from extract.openvino_backend import BATCHES, FIXED, BatchTrial, OpenVINOBackend
from extract.prepared import FacesToFeatures
from extract.torch_backend import TorchBackend

pytest.importorskip("openvino", reason="needs OpenVINO")

# -- finding the batch ---------------------------------------------------------------------------------------


class Clock:
    """A clock that only moves when faces are computed, at a rate that depends on the size of the batch."""

    def __init__(self, rates):
        self.now, self.rates = 0.0, rates

    def perf_counter(self):
        return self.now

    def compute(self, batch):
        self.now += len(batch) / self.rates[len(batch)]


def sizes_of(trial, count, clock=None):
    """Cut `count` faces, computing each batch on the clock; returns the sizes."""
    sizes = []
    for batch in trial.cut(np.zeros((count, 1, 1, 3), np.uint8)):
        if clock:
            clock.compute(batch)
        sizes.append(len(batch))
    return sizes


@pytest.fixture
def clock(monkeypatch):
    def start(rates):
        clock = Clock(rates)
        monkeypatch.setattr(openvino_backend, "time", clock)
        return clock

    return start


@pytest.mark.parametrize("fastest", BATCHES)
def test_every_size_is_tried_and_the_fastest_is_kept(clock, fastest):
    clock = clock({size: 100.0 + (size == fastest) for size in BATCHES})
    trial = BatchTrial(BATCHES)
    tried = list(BATCHES)
    assert sizes_of(trial, sum(tried), clock) == tried
    assert trial.best == fastest
    assert sizes_of(trial, 3 * fastest, clock) == [fastest] * 3


def test_the_trial_goes_on_from_call_to_call(clock):
    clock = clock({16: 1.0, 4: 3.0, 8: 2.0, 1: 1.0})
    trial = BatchTrial((16, 4, 8))
    assert [sizes_of(trial, count, clock) for count in (16, 16, 8, 16, 9)] == [
        [16],
        [4, 8, 4],
        [4, 4],
        [4, 4, 4, 4],
        [4, 4, 1],
    ]


def test_a_batch_that_is_not_full_tells_nothing(clock):
    rates = {size: 1000.0 for size in range(1, 16)} | {16: 1.0}
    clock = clock(rates)
    trial = BatchTrial((16, 4))
    for count in (1, 5, 15, 3):
        assert sizes_of(trial, count, clock) == [count]
    assert trial.best == 16
    assert sizes_of(trial, 17, clock) == [16, 1]


def test_one_size_is_always_kept(clock):
    clock = clock({8: 1.0, 2: 1.0})
    assert sizes_of(BatchTrial((8,)), 42, clock) == [8, 8, 8, 8, 8, 2]


@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4, unique=True).map(tuple),
    lengths=st.lists(st.integers(0, 90), max_size=6),
    leave=st.integers(0, 3),
)
def test_no_face_is_lost_or_computed_twice(sizes, lengths, leave):
    trial = BatchTrial(sizes)
    next(trial.cut(np.zeros((leave, 1, 1, 3), np.uint8)), None)  # a call that failed in its first batch
    for count in lengths:
        faces = np.arange(count).reshape(-1, 1, 1, 1)
        batches = list(trial.cut(faces))
        assert np.concatenate([faces[:0], *batches]).ravel().tolist() == list(range(count))
        assert all(0 < len(batch) <= max(sizes) for batch in batches)


# -- features ------------------------------------------------------------------------------------------------


def small_network(size=24, channels=8):
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2),
        nn.BatchNorm2d(channels),
        nn.Hardswish(),
        nn.Conv2d(channels, 16, 3),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 32),
    )
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
    return FacesToFeatures(layers.eval(), size=size, crop_fraction=1.0, mean=mean, std=std).eval()


def backend(module=None, *, precision="fp32", threads=None, any_batch=True):
    return OpenVINOBackend(
        module or small_network(), precision=precision, threads=threads, any_batch=any_batch
    )


def some_faces(count=40, side=24):
    return np.random.default_rng(side).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def reference():
    """Features by torch in float32."""
    return TorchBackend(small_network(), precision="fp32")


@pytest.fixture(scope="module", params=[True, False], ids=["any batch", "one batch"])
def ours(request):
    return backend(any_batch=request.param)


def test_faces_of_any_side_become_the_features_that_torch_gives(reference, ours):
    for side in (24, 16, 33, 24):
        faces = some_faces(20, side)
        X = ours(faces)
        assert X.shape == (20, 32)
        assert X.dtype == np.float32
        np.testing.assert_allclose(X, reference(faces), atol=1e-4)


def test_two_sides_in_turn_give_what_each_gives_alone(ours):
    faces = {side: some_faces(9, side) for side in (24, 33)}
    alone = {side: ours(faces[side]) for side in faces}
    for _ in range(3):
        for side in faces:
            assert ours(faces[side]).tobytes() == alone[side].tobytes()


def test_features_stay_as_they_are_when_more_are_computed(ours):
    first = ours(some_faces(8))
    kept = first.copy()
    ours(some_faces(8)[::-1])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("any_batch", [True, False])
def test_one_thread_and_two_give_the_same_bits(any_batch):
    one, two = (backend(threads=threads, any_batch=any_batch)(some_faces()) for threads in (1, 2))
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("count", [1, 3, 7, 8, 9, 16, 20])
def test_a_face_gives_the_same_bits_whatever_stands_beside_it(ours, count):
    faces = some_faces()
    whole = ours(faces)
    parts = [ours(faces[start : start + count]) for start in range(0, len(faces), count)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert ours(faces[::-1])[::-1].tobytes() == whole.tobytes()


class BatchMean(nn.Module):
    """Shows what stands in the batch: a face's features are its own mean and that of the batch."""

    def forward(self, faces):
        means = faces.float().mean(dim=(1, 2))
        return torch.cat([means, means.mean(dim=0, keepdim=True).expand_as(means)], dim=1)


@pytest.mark.parametrize("count", [1, FIXED, FIXED + 3])
def test_batches_are_padded_to_one_size_with_black_faces_where_the_size_matters(count):
    faces = np.full((count, 16, 16, 3), 80, np.uint8)
    X = backend(BatchMean(), any_batch=False)(faces)
    last = count % FIXED or FIXED
    beside = [80.0] * (count - last) + [80 * last / FIXED] * last
    np.testing.assert_allclose(X, [[80] * 3 + [mean] * 3 for mean in beside], rtol=1e-5)


def test_batches_are_not_padded_where_the_size_does_not_matter():
    made = backend(any_batch=True)
    made(some_faces(3))
    assert made._padded(some_faces(3)).shape[0] == 3


def test_a_network_that_looks_at_the_whole_batch_is_found_out_and_padded():
    X = backend(BatchMean(), any_batch=True)(np.full((3, 16, 16, 3), 80, np.uint8))
    np.testing.assert_allclose(X[:, 3:], 80 * 3 / FIXED, rtol=1e-5)  # with the zeros that fill it up


@pytest.mark.skipif(
    "BF16" not in openvino_backend.import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="needs a processor with bfloat16",
)
def test_bfloat16_differs_from_float32_by_its_rounding(reference):
    X, expected = backend(precision="bf16")(some_faces()), reference(some_faces())
    assert X.dtype == np.float32
    error = np.abs(X - expected).max() / np.abs(expected).max()
    assert 1e-6 < error < 2e-2


# -- what cannot be converted --------------------------------------------------------------------------------


class Raises(nn.Module):
    def forward(self, faces):
        raise NotImplementedError("no such path\nand more")


class Untraceable(nn.Module):
    """What the tracer cannot turn into a graph: a result that is no tensor."""

    def forward(self, faces):
        return "features"


class Unknown(nn.Module):
    """An operation that OpenVINO does not have."""

    def forward(self, faces):
        return torch.linalg.eigvals(faces[..., 0].float()).real


@pytest.mark.parametrize("network", [Raises, Untraceable, Unknown])
def test_a_network_that_is_not_converted_is_refused_with_the_backend_that_computes_it(network):
    with pytest.raises(
        RequestError,
        match=r"Expected a network that OpenVINO computes; it failed \(.*\)\. Use backend torch\.",
    ) as caught:
        backend(network())(some_faces(2))
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_warnings_of_tracing_are_not_the_users():
    class Branches(nn.Module):
        def forward(self, faces):
            return faces.float().mean(dim=(1, 2)) if faces.shape[1] > 4 and bool(faces.sum() >= 0) else faces

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend(Branches())(some_faces(2)).shape == (2, 3)


def test_converting_leaves_the_network_frozen_as_it_was():
    module = small_network().requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    backend(module)(some_faces(2))
    assert not any(layer.training for layer in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert torch.is_grad_enabled()
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


# -- a processor on which the bits depend on the batch ---------------------------------------------------------


def test_networks_whose_bits_depend_on_the_batch_are_padded(monkeypatch):
    monkeypatch.setattr(openvino_backend, "_same_in_any_batch", lambda request, side: False)
    made, faces = backend(any_batch=True), some_faces()
    whole = made(faces)
    assert made(faces[:1]).tobytes() == whole[:1].tobytes()
    assert made._padded(faces[:1]).shape[0] == openvino_backend.FIXED
