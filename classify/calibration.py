"""From scores to probabilities of fake, fitted on out-of-fold scores."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from classify.metrics import Floats, Labels
from extract.errors import unknown

METHODS = ("platt", "isotonic")


@dataclass(frozen=True)
class Calibration:
    """A map from scores to probabilities: a logistic curve, or a line through points, constant outside them.

    Attributes
    ----------
    method : {"platt", "isotonic"}
    x : tuple of float
        Slope and offset of the curve, or the scores of the points, ascending.
    y : tuple of float
        The probabilities of the points; empty for a curve.
    """

    method: str
    x: tuple[float, ...]
    y: tuple[float, ...] = ()

    def __call__(self, score: Floats) -> Floats:
        """Turn scores (n,) into probabilities of fake (n,)."""
        if self.method == "platt":
            return np.asarray(1 / (1 + np.exp(-(self.x[0] * np.asarray(score) + self.x[1]))))
        return np.interp(score, self.x, self.y)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Calibration":
        """Read what `to_dict` wrote; ValueError for anything else."""
        x, y = (tuple(float(v) for v in values[key]) for key in ("x", "y"))
        wanted = (2, 0) if values["method"] == "platt" else (len(x), max(len(x), 1))
        rising = values["method"] == "platt" or (np.diff(x) > 0).all()
        if values["method"] not in METHODS or (len(x), len(y)) != wanted or not rising:
            raise ValueError(f"Expected a calibration; got {dict(values)}. Export the detector again.")
        return Calibration(values["method"], x, y)


def fit_calibration(y: Labels, score: Floats, *, method: str) -> Calibration:
    """Fit a calibration on scores (n,) with labels (n,), 1 = fake."""
    if method not in METHODS:
        raise unknown("calibration", method, METHODS)
    if method == "platt":
        model = LogisticRegression(C=np.inf).fit(np.asarray(score)[:, None], y)
        return Calibration("platt", (float(model.coef_[0, 0]), float(model.intercept_[0])))
    points = IsotonicRegression(out_of_bounds="clip").fit(score, y)
    return Calibration("isotonic", tuple(points.X_thresholds_.tolist()), tuple(points.y_thresholds_.tolist()))
