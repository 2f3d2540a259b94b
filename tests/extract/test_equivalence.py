"""Every registered extractor on this machine, in every precision that it may have, against torch in float32."""

import cv2
import numpy as np
import pytest

from extract import extractors, hub, openvino_backend
from extract.compute import ComputeSettings, UnavailableError
from extract.datasets.drawing.persons import make_person, make_poses
from extract.datasets.filming import DrawnSubject, film
from extract.errors import RequestError
from extract.extractor_settings import ExtractorSettings
from extract.extractors import load_extractor
from extract.networks import NETWORKS
from extract.openvino_backend import BatchTrial
from extract.weights import WeightSettings
from extract.workers import cores

SMALLEST = {"inception_v4": 75}  # pixels; the others take 32
LONG = {"inception_v4", "convnext_base", "convnext_tiny", "deit_base", "deit_small"}  # to convert
CASES = [
    pytest.param(
        (name, size), marks=pytest.mark.slow if size == 224 or name in LONG else (), id=f"{name}-{size}"
    )
    for name in NETWORKS
    for size in (SMALLEST.get(name, 32), 224)
]
SIZES = (1, 3, 4, 8, 16, 20)
LEAST = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999}  # cosine similarity of a face's features


class Subject:
    """One network at one size, computed in different ways; the same way is computed once."""

    def __init__(self, name, size):
        self.name, self.size, self._loaded = name, size, {}
        self.network = NETWORKS[name](size)
        self.reference = self._make(ComputeSettings("torch", "fp32"))

    def _make(self, compute):
        settings = ExtractorSettings(name=self.name, size=self.size)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hub, "answers", lambda: False)
            patch.setattr(hub, "cached", lambda repository: None)
            return load_extractor(settings, weights=WeightSettings(policy="auto"), compute=compute)

    def load(self, precision, *, threads=None):
        made = self._make(ComputeSettings(precision=precision))
        key = made.backend, made.precision, threads
        if key not in self._loaded:
            if made.backend != "cuda":  # which takes the network over
                made.prepared = self.reference.prepared
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(extractors, "threads", lambda: threads or cores())
                made._backend  # noqa: B018  (made with these threads)
            self._loaded[key] = made
        return self._loaded[key]


@pytest.fixture(scope="module")
def subject(request):
    """Make a `Subject`; conversions by OpenVINO are kept, the same for all precisions and threads."""
    convert, kept = openvino_backend._convert, {}

    def once(module, side):
        key = id(module), side
        if key not in kept:
            kept[key] = convert(module, side)
        return kept[key].clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_backend, "_convert", once)
        yield Subject(*request.param)


def drawn(count, size):
    rng = np.random.default_rng(5)
    films = [
        film(DrawnSubject("nobody", make_person(rng)), make_poses(rng, 2), size=size, rng=rng)
        for _ in range(count // 2)
    ]
    return np.concatenate(films)


def photographed(folder, count, size):
    pictures = [cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in sorted(folder.glob("*.jpg"))[::7]]
    side = [min(picture.shape[:2]) for picture in pictures]
    squares = [picture[:s, :s] for picture, s in zip(pictures, side, strict=True)]
    return np.stack(
        [cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA) for square in squares[:count]]
    )


def cosines(one, other):
    one, other = (x.astype(np.float64) for x in (one, other))
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def check(subject, precision, faces):
    """Compare features with those of torch in float32; what would spoil them must have been refused."""
    half = subject.network.half
    try:
        extractor = subject.load(precision)
    except UnavailableError as error:
        pytest.skip(str(error))
    except RequestError:
        assert precision not in (half or ())
        return
    found = cosines(extractor(faces), subject.reference(faces))
    print(
        f"{subject.name} {subject.size} {extractor.backend} {extractor.precision}: cosine {found.min():.7f}"
    )
    assert found.min() >= LEAST[extractor.precision]


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
@pytest.mark.parametrize("subject", CASES, indirect=True)
def test_features_of_drawn_faces_are_those_of_torch(subject, precision):
    check(subject, precision, drawn(10, max(40, subject.size)))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
@pytest.mark.parametrize("subject", [case for case in CASES if case.values[0][1] == 224], indirect=True)
def test_features_of_photographed_faces_are_those_of_torch(subject, precision, shared):
    check(subject, precision, photographed(shared("data/portraits"), 12, 224))


@pytest.mark.parametrize("subject", CASES, indirect=True)
def test_bits_do_not_depend_on_the_batch_or_the_threads(subject, monkeypatch):
    if not subject.network.any_batch:
        pytest.skip(f"{subject.name} is computed in batches of one size")
    faces = drawn(20, max(40, subject.size))
    for precision in dict.fromkeys(subject.load(p).precision for p in ("auto", "fp32")):
        found = {}
        for threads in (None, 1, 2):
            extractor = subject.load(precision, threads=threads)
            if extractor.backend != "openvino":
                pytest.skip(f"{extractor.backend} computes batches of one size")
            for size in SIZES if threads is None or subject.size != 224 else (1, 16):
                monkeypatch.setattr(extractor._backend, "_sizes", BatchTrial((size,)))
                found[threads, size] = extractor(faces).tobytes()
        other = [way for way, bits in found.items() if bits != found[None, 16]]
        assert other == [], (precision, other)
