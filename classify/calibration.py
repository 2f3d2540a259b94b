"""Scores that read as probabilities, fitted on out-of-fold scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.isotonic import IsotonicRegression

from classify.metrics import Floats, Labels
from extract.registry import Registry

NONE = "none"  # the method that leaves scores as they are


@dataclass(frozen=True)
class Calibration:
    """A fitted map from scores to probabilities of fake, at the share of fakes that it was fitted on.

    Attributes
    ----------
    method : str
        A name in `METHODS`.
    parameters : mapping of name to list of float
        What the method fitted.
    prior : float
        The share of fakes among the scores that it was fitted on.
    """

    method: str
    parameters: Mapping[str, list[float]]
    prior: float

    def __call__(self, score: Floats, *, prior: float | None = None) -> Floats:
        """Turn scores (n,) into probabilities (n,).

        Parameters
        ----------
        prior : float, optional
            The share of fakes to expect, where it is another one than in the data: the odds are multiplied by the
            ratio of the two priors' odds (Saerens, Latinne and Decaestecker 2002, eq. 4).
        """
        probability = METHODS[self.method].apply(np.asarray(score, np.float64), self.parameters)
        if prior is None:
            return probability
        with np.errstate(divide="ignore"):  # certain ones stay certain
            return np.asarray(expit(logit(probability) + logit(prior) - logit(self.prior)))

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {"method": self.method, "parameters": dict(self.parameters), "prior": self.prior}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Calibration":
        """Read what `to_dict` returned."""
        return cls(record["method"], record["parameters"], record["prior"])


@dataclass(frozen=True)
class Method:
    """A way to calibrate: how it is fitted to scores and labels, and how it is applied."""

    fit: Callable[[Labels, Floats], dict[str, list[float]]]
    apply: Callable[[Floats, Mapping[str, list[float]]], Floats]


class _Score(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier with nothing to fit: its decision function is its only feature. scikit-learn calibrates these."""

    classes_ = np.array([0, 1])

    def fit(self, X: Floats, y: Labels) -> "_Score":
        return self

    def decision_function(self, X: Floats) -> Floats:
        return X[:, 0]

    def predict(self, X: Floats) -> Labels:
        """Demanded by scikit-learn, used by nobody."""
        return (X[:, 0] >= 0).astype(np.int64)


def _fit_platt(y: Labels, score: Floats) -> dict[str, list[float]]:
    every = np.arange(len(y))  # one "fold": nothing is fitted but the calibration
    model = CalibratedClassifierCV(_Score(), method="sigmoid", ensemble=False, cv=[(every, every)])
    fitted = model.fit(score[:, None], y).calibrated_classifiers_[0].calibrators[0]
    return {"slope": [float(fitted.a_)], "offset": [float(fitted.b_)]}


def _apply_platt(score: Floats, parameters: Mapping[str, list[float]]) -> Floats:
    return np.asarray(expit(-(parameters["slope"][0] * score + parameters["offset"][0])))


def _fit_isotonic(y: Labels, score: Floats) -> dict[str, list[float]]:
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, y)
    return {"scores": fitted.X_thresholds_.tolist(), "probabilities": fitted.y_thresholds_.tolist()}


def _apply_isotonic(score: Floats, parameters: Mapping[str, list[float]]) -> Floats:
    return np.interp(score, parameters["scores"], parameters["probabilities"])


METHODS: Registry[Method] = Registry("calibration")
# Platt 1999, with his smoothed targets, as scikit-learn fits it.
METHODS.add("platt", Method(_fit_platt, _apply_platt))
# Zadrozny and Elkan 2002: the monotone step function nearest to the labels, interpolated.
METHODS.add("isotonic", Method(_fit_isotonic, _apply_isotonic))


def fit_calibration(y: Labels, score: Floats, *, method: str) -> Calibration:
    """Fit a calibration to scores of rows that did not train their model.

    Parameters
    ----------
    y : (n,) int, 1 = fake
    score : (n,) float
    method : str
        A name in `METHODS`.

    Raises
    ------
    ValueError
        One class only.
    """
    if len(np.unique(y)) < 2:
        raise ValueError("Expected both classes to calibrate on; got one. Add rows of the other class.")
    return Calibration(method, METHODS[method].fit(y, np.asarray(score, np.float64)), float(np.mean(y)))
