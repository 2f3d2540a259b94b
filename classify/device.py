"""Whether boosting has a GPU to compute on."""

import ctypes
from functools import cache
from typing import Literal

import xgboost
from joblib import effective_n_jobs

from extract.workers import cores


@cache
def boosting_device() -> Literal["cpu", "cuda"]:
    """Return where XGBoost computes: ``cuda`` where it was built for it and Linux has a GPU, else ``cpu``.

    Sums in another order give other last bits, so results name it. CUDA_VISIBLE_DEVICES= hides a GPU.
    """
    if not xgboost.build_info().get("USE_CUDA"):
        return "cpu"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "cpu"
    found = ctypes.c_int(0)
    seen = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(found)) == 0
    return "cuda" if seen and found.value > 0 else "cpu"


def processes(classifier: str | None, n_jobs: int) -> int:
    """Return how many processes may work at once: one where they would share a GPU.

    Parameters
    ----------
    classifier : str or None
        What they fit; None for other work.
    n_jobs : int
        As joblib takes it, -1 for one a core; never more than cores.
    """
    if classifier == "xgboost" and boosting_device() == "cuda":
        return 1
    return min(int(effective_n_jobs(n_jobs)), cores())
