"""The classifiers: how each is built from one point of its grid, and what its scores mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from xgboost import XGBClassifier

from classify.device import boosting_device
from extract.errors import RequestError
from extract.registry import Registry

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Values:
    """What a parameter's values must be, in words and as a check."""

    words: str
    allow: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


POSITIVE = Values("numbers above 0", lambda value: _is_number(value) and value > 0)
SHARE = Values("numbers above 0 and at most 1", lambda value: _is_number(value) and 0 < value <= 1)
COUNT = Values(
    "whole numbers from 1", lambda value: _is_number(value) and isinstance(value, int) and value >= 1
)
DEPTH = Values('whole numbers from 1, or "none"', lambda value: value is None or COUNT.allow(value))
KERNEL = Values("linear, poly, rbf or sigmoid", lambda value: value in ("linear", "poly", "rbf", "sigmoid"))
GAMMA = Values(
    "scale, auto or numbers above 0", lambda value: value in ("scale", "auto") or POSITIVE.allow(value)
)
COLUMNS = Values(
    'sqrt, log2, "none" or shares such as 1.0',  # the whole number 1 would be one column
    lambda value: value in ("sqrt", "log2", None) or (isinstance(value, float) and SHARE.allow(value)),
)


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
    parameters : mapping
        Name that a grid may have -> what its values must be.
    like : str, optional
        The classifier whose fitted estimators it gives, fitted otherwise.
    needs : (module, extra), optional
        A package that is not always there, and the extra that installs it.
    """

    title: str
    build: Callable[[Params, int], Any]
    output: Literal["decision_function", "predict_proba"]
    parameters: Mapping[str, "Values"]
    like: str | None = None
    needs: tuple[str, str] | None = None

    @property
    def default_threshold(self) -> float:
        """0 for a distance; just above 0.5 for a probability, as `predict` calls a tie real.

        A forest's `predict` compares two sums of its own, which rounding may set apart where this one is exactly 0.5.
        """
        return 0.0 if self.output == "decision_function" else float(np.nextafter(0.5, 1))

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
        {"C": POSITIVE},
    ),
)
CLASSIFIERS.add(
    "svc",
    Classifier(
        "SVC",
        lambda params, seed: SVC(cache_size=500, **params),
        "decision_function",
        {"C": POSITIVE, "kernel": KERNEL, "gamma": GAMMA},
    ),
)
CLASSIFIERS.add(
    "random_forest",
    Classifier(
        "Random forest",
        lambda params, seed: RandomForestClassifier(n_jobs=1, random_state=seed, **params),
        "predict_proba",
        {"n_estimators": COUNT, "max_depth": DEPTH, "min_samples_leaf": COUNT, "max_features": COLUMNS},
    ),
)
CLASSIFIERS.add(
    "xgboost",
    Classifier(
        "XGBoost",
        lambda params, seed: XGBClassifier(
            tree_method="hist", device=boosting_device(), n_jobs=1, random_state=seed, **params
        ),
        "predict_proba",
        {"n_estimators": COUNT, "max_depth": DEPTH, "learning_rate": POSITIVE, "colsample_bytree": SHARE},
    ),
)


def _by_onedal(name: str, title: str, kind: str) -> None:
    """Register a classifier again, fitted by oneDAL: under a name of its own, for its answers are others."""

    def build(params: Params, seed: int) -> Any:
        from classify import onedal

        return getattr(onedal, kind)(**CLASSIFIERS[name].build(params, seed).get_params())

    known = CLASSIFIERS[name]
    CLASSIFIERS.add(
        f"{name}_onedal",
        Classifier(title, build, known.output, known.parameters, like=name, needs=("sklearnex", "accel")),
    )


_by_onedal("svc", "SVC (oneDAL)", "OneDALSVC")
_by_onedal("random_forest", "Random forest (oneDAL)", "OneDALForest")


def installed() -> list[str]:
    """Return the classifiers whose packages are there."""
    return [
        name
        for name in CLASSIFIERS
        if (needs := CLASSIFIERS[name].needs) is None or find_spec(needs[0]) is not None
    ]


def fitted_as(name: str) -> str:
    """Return the classifier whose kind of estimator a classifier gives once it is fitted: itself, for most."""
    return CLASSIFIERS[name].like or name


def check_grid(name: str, grid: Mapping[str, list[Any]]) -> None:
    """Refuse a grid with a parameter that the classifier does not tune, without values, or with wrong ones.

    Also a classifier whose package is not installed.

    Raises
    ------
    RequestError
    """
    known, needs = CLASSIFIERS[name].parameters, CLASSIFIERS[name].needs
    if needs and name not in installed():
        raise RequestError(
            f"Expected {needs[0]} for classifier {name}; it is not installed. Install the extra: pip install "
            f"'deepfake-transfer-bench[{needs[1]}]'.",
            code="E_PACKAGE_MISSING",
        )
    for parameter, values in grid.items():
        if parameter not in known:
            raise RequestError(
                f"Expected a grid over {', '.join(known)} for {name}; got {parameter!r}. Correct the suite.",
                code="E_GRID",
            )
        if not values:
            raise RequestError(f"Expected values for {name}.{parameter}; got none. Add one.", code="E_GRID")
        if wrong := [value for value in values if not known[parameter].allow(value)]:
            raise RequestError(
                f"Expected {known[parameter].words} for {name}.{parameter}; got {wrong[0]!r}. Correct the suite.",
                code="E_GRID",
            )
