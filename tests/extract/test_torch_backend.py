import numpy as np
import pytest
import torch
from torch import nn

from extract import torch_backend
from extract.prepared import FacesToFeatures
from extract.torch_backend import CPU_BATCH, GPU_BATCH, CudaBackend, TorchBackend, autocast


def small_network():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Linear(288, 64),
    )
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
    return FacesToFeatures(layers.eval(), size=32, crop_fraction=1.0, mean=mean, std=std).eval()


def some_faces(count, side=32):
    return np.random.default_rng(side).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def cosines(one, other):
    one, other = (x.astype(np.float64) for x in (one, other))
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


# -- on the processor ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("count", [1, 3, CPU_BATCH - 1, CPU_BATCH, CPU_BATCH + 1])
def test_a_face_gives_the_same_bits_whatever_stands_beside_it(precision, count):
    backend, faces = TorchBackend(small_network(), precision=precision), some_faces(2 * CPU_BATCH + 3)
    whole = backend(faces)
    parts = [backend(faces[start : start + count]) for start in range(0, len(faces), count)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("side", [32, 20, 50])
def test_features_are_what_the_network_gives(side):
    network, faces = small_network(), some_faces(5, side)
    with torch.inference_mode():
        expected = network(torch.from_numpy(faces)).numpy()
    X = TorchBackend(network, precision="fp32")(faces)
    assert X.dtype == np.float32
    np.testing.assert_allclose(X, expected, atol=1e-5)


def test_views_of_faces_give_the_bits_of_copies():
    backend, faces = TorchBackend(small_network(), precision="fp32"), some_faces(6, 48)
    for view in (faces[::-1], faces[::2], faces[:, 8:40, 8:40], faces[..., ::-1]):
        assert backend(view).tobytes() == backend(view.copy()).tobytes()


class Precision(nn.Module):
    """Says in which precision a matrix product was computed: the size of its numbers in bytes."""

    def forward(self, faces):
        flat = faces.flatten(1).float()
        product = flat @ torch.ones((flat.shape[1], 1), device=flat.device)
        return torch.full((len(faces), 1), float(product.element_size()), device=flat.device)


@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("bf16", 2), ("fp16", 2)])
def test_half_precision_is_that_of_matrix_products(precision, size):
    X = TorchBackend(Precision(), precision=precision)(some_faces(2))
    assert X.dtype == np.float32
    assert X.tolist() == [[size], [size]]


def test_bfloat16_differs_from_float32_by_its_rounding():
    whole, half = (TorchBackend(small_network(), precision=p)(some_faces(20)) for p in ("fp32", "bf16"))
    assert half.dtype == np.float32
    assert (half != whole).any()
    assert cosines(half, whole).min() >= 0.999


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_callers_precision_stays_as_it_is(precision):
    TorchBackend(small_network(), precision=precision)(some_faces(1))
    assert not torch.is_autocast_enabled("cpu")
    assert torch.is_grad_enabled()
    with autocast("cpu", precision):
        assert torch.is_autocast_enabled("cpu") == (precision == "bf16")


# -- on a GPU ------------------------------------------------------------------------------------------------

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@gpu
@pytest.mark.parametrize("count", [1, GPU_BATCH - 1, GPU_BATCH, GPU_BATCH + 1, 3 * GPU_BATCH + 5])
def test_a_gpu_gives_the_features_of_the_processor(count):
    faces = some_faces(count)
    X = CudaBackend(small_network(), precision="fp32")(faces)
    assert X.shape == (count, 64)
    assert X.dtype == np.float32
    assert cosines(X, TorchBackend(small_network(), precision="fp32")(faces)).min() >= 0.9999


@gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_on_a_gpu_keeps_the_features(precision):
    faces = some_faces(100)
    X = CudaBackend(small_network(), precision=precision)(faces)
    assert X.dtype == np.float32
    assert cosines(X, TorchBackend(small_network(), precision="fp32")(faces)).min() >= 0.999


@gpu
def test_faces_of_several_sides_take_turns_on_a_gpu():
    backend, reference = (
        CudaBackend(small_network(), precision="fp32"),
        TorchBackend(small_network(), precision="fp32"),
    )
    for side in (32, 48, 20, 32, 48):
        faces = some_faces(GPU_BATCH + 7, side)
        assert cosines(backend(faces), reference(faces)).min() >= 0.9999


@gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("count", [1, 5, GPU_BATCH, GPU_BATCH + 1])
def test_a_face_gives_the_same_bits_on_a_gpu_whatever_stands_beside_it(precision, count):
    backend, faces = CudaBackend(small_network(), precision=precision), some_faces(2 * GPU_BATCH + 3)
    whole = backend(faces)
    parts = [backend(faces[start : start + count]) for start in range(0, len(faces), count)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@gpu
def test_many_batches_do_not_overtake_each_other_on_a_gpu():
    backend, faces = CudaBackend(small_network(), precision="fp32"), some_faces(GPU_BATCH)
    one = backend(faces)
    many = backend(np.concatenate([np.roll(faces, shift, axis=0) for shift in range(20)]))
    for shift in range(20):
        part = many[shift * GPU_BATCH : (shift + 1) * GPU_BATCH]
        assert np.roll(part, -shift, axis=0).tobytes() == one.tobytes()


def test_a_graph_is_captured_with_cudnn_and_without_tf32():
    with torch_backend.exactly():
        assert torch.backends.cudnn.enabled
        assert not torch.backends.cudnn.allow_tf32
