import ctypes

import numpy as np
import pytest
import xgboost

from classify import device, models
from classify.device import boosting_device, processes
from classify.models import CLASSIFIERS
from classify.search import search
from extract.workers import cores


@pytest.fixture(autouse=True)
def asked_anew():
    boosting_device.cache_clear()
    yield
    boosting_device.cache_clear()


class Driver:
    """A CUDA driver that sees some GPUs."""

    def __init__(self, count, status=0):
        self.count, self.status = count, status

    def cuInit(self, flags):
        return self.status

    def cuDeviceGetCount(self, place):
        place._obj.value = self.count
        return 0


@pytest.mark.parametrize(
    ("built", "driver", "expected"),
    [
        (True, Driver(1), "cuda"),
        (True, Driver(0), "cpu"),
        (True, Driver(1, status=100), "cpu"),
        (True, OSError("no driver"), "cpu"),
        (False, Driver(1), "cpu"),
    ],
)
def test_a_gpu_is_used_where_there_is_one(built, driver, expected, monkeypatch):
    def load(name):
        if isinstance(driver, OSError):
            raise driver
        return driver

    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": built})
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert boosting_device() == expected
    assert CLASSIFIERS["xgboost"].build({}, 0).get_params()["device"] == expected
    assert processes("xgboost", -1) == (1 if expected == "cuda" else cores())
    assert [processes(None, n_jobs) for n_jobs in (1, -1)] == [1, cores()]
    assert [processes("svc", n_jobs) for n_jobs in (1, -1, cores() + 3)] == [1, cores(), cores()]


@pytest.mark.skipif(boosting_device() == "cuda", reason="of a machine without a GPU")
@pytest.mark.filterwarnings("ignore:.*device")
def test_a_search_asks_for_the_gpu(noisy, thirds, monkeypatch):
    # XGBoost takes the processor where it finds no GPU after all: here the way there is tried, not the GPU.
    X, y = noisy()
    request = {"classifier": "xgboost", "grid": {"n_estimators": [3, 5]}, "metric": "f1", "seed": 0}
    plain = search(X, y, folds=thirds(66), **request)
    monkeypatch.setattr(device, "boosting_device", lambda: "cuda")
    monkeypatch.setattr(models, "boosting_device", lambda: "cuda")
    assert np.array_equal(search(X, y, folds=thirds(66), n_jobs=2, **request).scores, plain.scores)
