import numpy as np
import pandas as pd
import pytest
from scipy import stats

from classify.resampling import resample, totals
from classify.uncertainty import corrected_t, holm, interval, paired_difference

HALF = np.linspace(0, 1, 1001)  # replicates whose quantiles are their levels


def test_percentiles_of_replicates():
    assert interval(0.5, HALF) == pytest.approx((0.025, 0.975))
    assert interval(0.5, HALF, level=0.8) == pytest.approx((0.1, 0.9))


def test_few_people_widen_by_t_and_divisor():
    tail = stats.norm.cdf(np.sqrt(10 / 9) * stats.t.ppf(0.025, 9))
    assert interval(0.5, HALF, people=10) == pytest.approx((tail, 1 - tail))
    assert interval(0.5, HALF, people=10_000) == pytest.approx((0.025, 0.975), abs=1e-4)


@pytest.fixture
def skewed(rng):
    """60 clips of people of their own with a skewed measurement: (Resampling, measurement)."""
    rows = pd.DataFrame({"clip": [f"c{n}" for n in range(60)], "identity": "", "source_identity": ""})
    return resample(rows.assign(label=0), seed=0, replicates=20_000), rng.exponential(size=60)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_of_a_mean_agree_with_scipy(skewed, method):
    drawn, x = skewed

    def mean(weights):
        ones = totals(np.ones(60), cells=drawn.cells, weights=weights)
        return totals(x, cells=drawn.cells, weights=weights) / ones

    ours = interval(x.mean(), mean(drawn.weights), method=method, jackknife=mean(drawn.jackknife))
    other = stats.bootstrap(
        (x,), np.mean, n_resamples=20_000, method=method, random_state=np.random.default_rng(1)
    ).confidence_interval
    assert ours == pytest.approx((other.low, other.high), abs=0.01)  # the standard error is about 0.13
    assert abs(ours[0] - ours[1]) > 0.3


def test_bca_counts_ties_one_half():
    replicates = np.array([0.0, 1.0, 1.0, 2.0] * 500)
    symmetric = np.array([0.9, 1.0, 1.1])  # no acceleration; half of the replicates below 1
    assert interval(1.0, replicates, method="bca", jackknife=symmetric) == interval(1.0, replicates)


def test_constant_replicates_are_their_value():
    assert interval(1.0, np.ones(100)) == (1.0, 1.0)
    assert interval(1.0, np.ones(100), method="bca", jackknife=np.ones(5)) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("estimate", "replicates", "options"),
    [
        (np.nan, HALF, {}),
        (0.5, HALF, {"people": 1}),
        (0.5, HALF, {"people": 0}),
        (0.5, np.where(HALF < 0.06, np.nan, HALF), {}),
        (0.5, np.full(10, np.nan), {}),
        (0.5, np.array([]), {}),
        (2.0, HALF, {"method": "bca", "jackknife": np.arange(3.0)}),
        (0.5, HALF, {"method": "bca", "jackknife": np.ones(3)}),
    ],
    ids=[
        "estimate",
        "one person",
        "nobody",
        "6 % undefined",
        "undefined",
        "none",
        "one side",
        "no jackknife",
    ],
)
def test_where_nothing_can_be_said_the_interval_is_undefined(estimate, replicates, options):
    assert np.isnan(interval(estimate, replicates, **options)).all()


def test_few_undefined_replicates_are_left_out():
    some = np.concatenate([HALF, np.full(20, np.nan)])
    assert interval(0.5, some) == interval(0.5, HALF)


@pytest.mark.parametrize("options", [{"method": "basic"}, {"method": "bca"}])
def test_an_unknown_method_is_refused(options):
    with pytest.raises(ValueError, match=r"Expected a method in .* bca with jackknife values; got"):
        interval(0.5, HALF, **options)


# -- differences -----------------------------------------------------------------------------------------------


def test_a_model_does_not_differ_from_itself(rng):
    model = (0.7, rng.normal(0.7, 0.1, 500))
    for people in (None, 20):
        found = paired_difference(model, model, people=people)
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_p_value_by_hand():
    second = np.zeros(99)
    first = np.arange(99) - 3.0  # -3, -2, -1 and 0 are not above: (1 + 4) / 100, doubled
    found = paired_difference((40.0, first), (0.0, second))
    assert found.value == 40
    assert found.p == pytest.approx(0.1)
    assert paired_difference((0.0, second), (40.0, first)).p == pytest.approx(0.1)
    assert paired_difference((40.0, first + 50), (0.0, second)).p == pytest.approx(0.02)


@pytest.mark.parametrize("people", [None, 12])
def test_interval_and_p_value_agree(people):
    replicates = np.linspace(-1, 1, 20_001)
    for shift in (0.90, 0.94, 0.96, 0.98, 0.99):
        found = paired_difference((shift, shift + replicates), (0.0, 0 * replicates), people=people)
        assert (found.p < 0.05) == (found.low > 0)
    level = 1 - found.p
    at_level = paired_difference(
        (shift, shift + replicates), (0.0, 0 * replicates), people=people, level=level
    )
    assert at_level.low == pytest.approx(0, abs=1e-3)


def test_an_undefined_difference_has_no_p_value():
    found = paired_difference((np.nan, np.full(9, np.nan)), (0.5, np.full(9, 0.5)))
    assert np.isnan([found.value, found.low, found.high, found.p]).all()


def test_holm_by_hand():
    # 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1 raised to its predecessor (R: p.adjust(..., "holm")).
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([]).tolist() == []


def test_holm_does_not_count_undefined_comparisons():
    np.testing.assert_allclose(holm([0.02, np.nan, 0.03]), [0.04, np.nan, 0.04])


def test_corrected_t_by_hand():
    # mean 2, variance 1, k = 3: t = 2 / sqrt(1/3 + 1/2) = 2.19089; P(|t_2| > t) = 1 - t / sqrt(2 + t^2) = 0.15983
    assert corrected_t([1, 2, 3]) == pytest.approx(0.15983, abs=1e-5)
    assert corrected_t([1, 2, 3], test_over_train=0) == pytest.approx(stats.ttest_1samp([1, 2, 3], 0).pvalue)


def test_corrected_t_at_the_edges():
    assert corrected_t([0.0, 0.0]) == 1
    assert corrected_t([0.5, 0.5]) == 0
    assert np.isnan(corrected_t([0.5]))
    assert np.isnan(corrected_t([0.5, np.nan, 0.2]))
