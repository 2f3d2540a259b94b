"""Half precision must not change what an extractor is worth."""

import pytest
from sklearn.metrics import roc_auc_score

from classify.folds import identity_folds
from classify.search import search
from extract.compute import HALVES, ComputeSettings
from extract.datasets.synthetic import SyntheticSettings, generate
from extract.extractor_settings import ExtractorSettings
from extract.extractors import load_extractor
from extract.faces import FaceSettings, faces_key
from extract.manifest import read_manifest
from extract.pipeline import find_faces, identify, load_features
from extract.store import Store
from extract.weights import WeightSettings

FACES = FaceSettings(detector="none", size=160, frames=4)  # frames as they are: heads fill them


@pytest.fixture(scope="module")
def found(tmp_path_factory, request):
    """Return a store and the rows of faces: portraits where they are on this machine, else drawn persons."""
    folder = tmp_path_factory.mktemp("clips")
    portraits = request.config.rootpath.parent / "shared" / "data" / "portraits"
    settings = SyntheticSettings(
        identities=60, frames=4, size=160, portraits=portraits if portraits.is_dir() else None
    )
    store = Store(folder / "cache")
    manifest = identify(read_manifest(generate(settings, folder / "clips")), store)
    rows, _ = find_faces(manifest, FACES, store=store)
    return store, rows


def out_of_fold_auc(found, name, precision):
    store, rows = found
    extractor = load_extractor(
        ExtractorSettings(name=name, size=160),
        weights=WeightSettings(policy="auto"),
        compute=ComputeSettings(precision=precision),
    )
    features = load_features(rows, extractor, store=store, faces=faces_key(FACES))
    y = rows["label"].to_numpy()
    folds = identity_folds(rows, n_splits=5, protocol="component", seed=0)
    grid = {"C": [0.001, 0.01, 0.1]}
    result = search(
        features.X,
        y,
        classifier="logistic_regression",
        grid=grid,
        folds=folds,
        metric="auc",
        seed=0,
        n_jobs=2,
    )
    return extractor.precision, roc_auc_score(y, result.scores)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deit_small"])
def test_half_precision_changes_the_area_under_the_curve_by_at_most_two_thousandths(found, name):
    (_, whole), (precision, auto) = (out_of_fold_auc(found, name, wanted) for wanted in ("fp32", "auto"))
    if precision not in HALVES:
        pytest.skip("this machine computes no half precision")
    print(f"{name}: AUC {whole:.4f} in fp32, {auto:.4f} in {precision}; {len(found[1])} faces")
    assert abs(whole - auto) <= 0.002
