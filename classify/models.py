"""The classifiers: how each is built from one point of its grid, and what its scores mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from xgboost import XGBClassifier

from extract.errors import RequestError
from extract.registry import Registry

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Classifier:
    """A kind of classifier.

    Attributes
    ----------
    title : str
        In tables.
    build : callable
        Makes an unfitted scikit-learn estimator from a point of the grid and a seed; single-threaded, because
        the grid is what runs in parallel.
    output : {"decision_function", "predict_proba"}
        What its score is: the signed distance, with the default threshold 0, or the probability of fake, with
        the default threshold 0.5.
    parameters : tuple of str
        Names that a grid may have.
    """

    title: str
    build: Callable[[Params, int], Any]
    output: Literal["decision_function", "predict_proba"]
    parameters: tuple[str, ...]

    @property
    def default_threshold(self) -> float:
        return 0.0 if self.output == "decision_function" else 0.5

    def score(self, fitted: Any, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Score n rows (n, d) float32 with a fitted estimator: (n,) float64, higher = more likely fake."""
        scores = getattr(fitted, self.output)(X)
        return np.asarray(scores if scores.ndim == 1 else scores[:, 1], np.float64)


CLASSIFIERS: Registry[Classifier] = Registry("classifier")

CLASSIFIERS.add(
    "logistic_regression",
    Classifier(
        "Logistic regression",
        lambda params, seed: LogisticRegression(max_iter=5000, **params),
        "decision_function",
        ("C",),
    ),
)
CLASSIFIERS.add(
    "svc",
    Classifier(
        "SVC",
        lambda params, seed: SVC(cache_size=500, **params),
        "decision_function",
        ("C", "kernel", "gamma"),
    ),
)
CLASSIFIERS.add(
    "random_forest",
    Classifier(
        "Random forest",
        lambda params, seed: RandomForestClassifier(n_jobs=1, random_state=seed, **params),
        "predict_proba",
        ("n_estimators", "max_depth", "min_samples_leaf", "max_features"),
    ),
)
CLASSIFIERS.add(
    "xgboost",
    Classifier(
        "XGBoost",
        lambda params, seed: XGBClassifier(tree_method="hist", n_jobs=1, random_state=seed, **params),
        "predict_proba",
        ("n_estimators", "max_depth", "learning_rate", "colsample_bytree"),
    ),
)


def check_grid(name: str, grid: Mapping[str, list[Any]]) -> None:
    """Refuse a grid with a parameter that the classifier does not tune, or without values.

    Raises
    ------
    RequestError
    """
    known = CLASSIFIERS[name].parameters
    for parameter, values in grid.items():
        if parameter not in known:
            raise RequestError(
                f"Expected a grid over {', '.join(known)} for {name}; got {parameter!r}. Correct the suite."
            )
        if not values:
            raise RequestError(f"Expected values for {name}.{parameter}; got none. Add one.")
