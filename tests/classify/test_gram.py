import numpy as np
import pytest
from sklearn.metrics.pairwise import linear_kernel, polynomial_kernel, rbf_kernel, sigmoid_kernel
from sklearn.svm import SVC
from threadpoolctl import threadpool_info

from classify import gram as module
from classify.gram import compute_gram, fill_kernel, gram_bytes, kernel_of, mapping, score_kernels
from classify.protocols import Fold

CS = (0.01, 1.0, 100.0)
KERNELS = [
    {"kernel": "rbf"},
    {"kernel": "rbf", "gamma": "auto"},
    {"kernel": "rbf", "gamma": 0.2},
    {"kernel": "linear"},
    {"kernel": "poly"},
    {"kernel": "sigmoid", "gamma": 0.01},
    {},
]
every_kernel = pytest.mark.parametrize("params", KERNELS, ids=str)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)


def decisions(X, y, fold, **params):
    return SVC(**params).fit(X[fold.train], y[fold.train]).decision_function(X[fold.test])


def check(X, y, fold, params, *, tolerance=1e-6):
    gram = compute_gram(X, np.sort(np.concatenate([fold.train, fold.test])))
    points = [{**params, "C": C} for C in CS]
    found = score_kernels(gram, X, y, points, fold=fold, seed=0)
    assert found.converged.tolist() == [True] * len(CS)
    for point, scores in zip(points, found.scores, strict=True):
        np.testing.assert_allclose(scores, decisions(X, y, fold, **point), rtol=0, atol=tolerance)


def test_products_are_those_of_the_rows_and_exactly_symmetric(rng, small_blocks):
    X = rng.normal(size=(40, 6)).astype(np.float32)
    rows = np.arange(0, 40, 3)
    gram = compute_gram(X, rows)
    np.testing.assert_allclose(gram.products, X[rows].astype(float) @ X[rows].T.astype(float), rtol=1e-13)
    np.testing.assert_array_equal(gram.products, gram.products.T)
    assert (gram.products.dtype, gram.dim) == (np.float64, 6)


def test_products_have_the_same_bits_with_any_number_of_threads(rng, small_blocks):
    X = rng.normal(size=(50, 33)).astype(np.float32)
    one, three = (compute_gram(X, np.arange(50), threads=threads).products for threads in (1, 3))
    assert one.tobytes() == three.tobytes()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rbf", rbf_kernel),
        ("linear", linear_kernel),
        ("poly", polynomial_kernel),
        ("sigmoid", sigmoid_kernel),
    ],
)
def test_kernels_are_scikit_learns(name, expected, rng, small_blocks):
    X = rng.normal(size=(20, 4)).astype(np.float32)
    rows, columns = np.array([1, 2, 5, 9]), np.array([0, 2, 9, 11, 19])
    gram = compute_gram(X, np.unique(np.concatenate([rows, columns])))
    found = fill_kernel(gram, module.Kernel(name, 0.3), rows, columns)
    more = {} if name == "linear" else {"gamma": 0.3}
    more |= {"coef0": 0} if name in ("poly", "sigmoid") else {}
    np.testing.assert_allclose(
        found, expected(X[rows].astype(float), X[columns].astype(float), **more), rtol=1e-12
    )


def test_a_kernel_is_written_into_what_is_given(rng):
    X, out = rng.normal(size=(9, 4)).astype(np.float32), np.full((3, 9), np.nan)
    gram = compute_gram(X, np.arange(9))
    found = fill_kernel(gram, module.Kernel("linear", 1.0), np.arange(3), np.arange(9), out=out)
    assert found is out
    np.testing.assert_array_equal(out, gram.products[:3])


@pytest.mark.parametrize("gamma", ["scale", "auto", 0.7])
def test_gamma_is_what_scikit_learn_computes_on_the_training_part(gamma, rng):
    X, train = rng.normal(size=(30, 4)).astype(np.float32), np.arange(3, 25)
    fitted = SVC(gamma=gamma).fit(X[train], np.arange(22) % 2)
    assert kernel_of({"gamma": gamma}, X, train).gamma == fitted._gamma


def test_gamma_of_constant_features_is_one():
    X = np.ones((6, 3), np.float32)
    assert kernel_of({}, X, np.arange(6)).gamma == 1.0 == SVC().fit(X, [0, 1] * 3)._gamma


@every_kernel
@pytest.mark.parametrize("seed", range(3))
def test_decision_values_are_those_of_separate_fits(params, seed, noisy):
    X, y = noisy(n=90, d=17, seed=seed)
    check(X, y, Fold(np.arange(60), np.arange(60, 90)), params)


@every_kernel
def test_duplicated_rows_constant_and_tied_features(params, noisy, small_blocks):
    X, y = noisy(n=80, d=9)
    X = np.round(X)  # ties within features
    X[:, 3] = 2.0
    X[40:60] = X[20:40]  # of one label
    y[40:60] = y[20:40]
    X[5:10] = X[10:15]  # of both labels
    check(X, y, Fold(np.arange(60), np.arange(60, 80)), params)


@every_kernel
def test_few_of_one_class(params, noisy):
    X, y = noisy(n=80)
    y[:] = np.arange(80) % 16 == 0
    check(X, y, Fold(np.arange(50), np.arange(50, 80)), params)


def test_a_fold_of_two_rows(noisy):
    X, y = noisy(n=4)
    check(X, y, Fold(np.array([0, 1]), np.array([2, 3])), {})


def test_rows_that_are_all_the_same_have_a_kernel():
    X, y = np.ones((6, 3), np.float32), np.array([0, 1] * 3)
    check(X, y, Fold(np.arange(4), np.arange(4, 6)), {})


def test_threads_change_no_bit(noisy, small_blocks):
    X, y = noisy(n=60)
    fold, points = Fold(np.arange(40), np.arange(40, 60)), [{"C": C} for C in CS]
    gram = compute_gram(X, np.arange(60))
    one, three = (score_kernels(gram, X, y, points, fold=fold, seed=0, threads=t) for t in (1, 3))
    assert one.scores.tobytes() == three.scores.tobytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_each_thread_keeps_to_one_processor(threads):
    def limits(_):
        return {library["num_threads"] for library in threadpool_info()}

    with mapping(threads) as each:
        assert list(each(limits, range(2))) == [{1}, {1}]


def test_the_size_is_said_in_bytes():
    assert gram_bytes(8000) == 8000 * 8000 * 8
