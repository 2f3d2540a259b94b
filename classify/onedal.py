"""What oneDAL fits (scikit-learn-intelex, the extra ``accel``): quicker, with answers of its own.

What is fitted is handed on as scikit-learn's own estimators, so that whatever scores, stores or exports those takes it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC


class OneDALForest(RandomForestClassifier):  # type: ignore[misc]
    """A forest whose trees oneDAL grows: on features cut into 256 steps, drawn by random numbers of its own."""

    def fit(self, X: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> RandomForestClassifier:
        """Return scikit-learn's forest of the trees that were grown on rows (n, d)."""
        from sklearnex.ensemble import RandomForestClassifier as Grown

        grown = Grown(**self.get_params()).fit(X, y)
        forest = RandomForestClassifier(**self.get_params())
        forest.estimators_ = [_like_scikit_learn(tree) for tree in grown.estimators_]
        forest.estimator_, forest._n_samples, forest._n_samples_bootstrap = forest.estimator, len(X), len(X)
        forest.classes_, forest.n_classes_ = grown.classes_, grown.n_classes_
        forest.n_outputs_, forest.n_features_in_ = 1, X.shape[1]
        return forest


def _like_scikit_learn(tree: Any) -> Any:
    """Give a tree the types that it has where scikit-learn's forest grows it."""
    tree.classes_, tree.n_classes_ = np.array([0.0, 1.0]), np.int64(2)
    state = tree.tree_.__getstate__()
    # oneDAL's hold chance bytes between their fields, which zeros_like would leave.
    nodes = np.zeros(state["nodes"].shape, state["nodes"].dtype)
    for field in nodes.dtype.names:
        nodes[field] = state["nodes"][field]
    tree.tree_.__setstate__({**state, "nodes": nodes})
    return tree


class OneDALSVC(SVC):  # type: ignore[misc]
    """An SVC that oneDAL solves: to the same tolerance from another side, without a matrix between all rows."""

    def fit(self, X: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> SVC:
        """Return scikit-learn's SVC with the support vectors and coefficients that were found on rows (n, d)."""
        from sklearnex.svm import SVC as Solved

        # float64: of products of large numbers float32 leaves decision values two digits.
        solved = Solved(**self.get_params(), n_jobs=1).fit(X.astype(np.float64), y)
        model = SVC(**self.get_params())
        model.classes_, model.class_weight_ = solved.classes_, np.ones(2)
        model.shape_fit_, model.n_features_in_ = X.shape, X.shape[1]
        model._sparse, model._gamma = False, np.array(float(solved._gamma))
        # libsvm wants the support vectors of one class after those of the other.
        order = np.argsort(y[solved.support_], kind="stable")
        model.support_ = solved.support_[order].astype(np.int32)
        model.support_vectors_ = np.ascontiguousarray(X[model.support_], np.float64)
        model._n_support = np.bincount(y[model.support_], minlength=2).astype(np.int32)
        coefficients = np.ascontiguousarray(solved.dual_coef_[:, order], np.float64)
        model.dual_coef_, model.intercept_ = (
            coefficients,
            np.asarray(solved.intercept_, np.float64).reshape(1),
        )
        model._dual_coef_, model._intercept_ = (
            -coefficients,
            -model.intercept_,
        )  # libsvm's sign, of two classes
        model._probA = model._probB = np.empty(0)
        model._effective_probability = False
        model.fit_status_ = int(solved.fit_status_)
        model.n_iter_ = model._num_iter = np.asarray(solved.n_iter_, np.int32).reshape(1)
        return model
