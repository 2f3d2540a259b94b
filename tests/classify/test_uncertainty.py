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


BELL = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)  # 2,000 replicates of a normal distribution
FLAT = np.zeros(2000)


def difference(value, *, people=None, level=0.95):
    """Compare two models whose difference has standard error 1."""
    return paired_difference((value, value + BELL), (0.0, FLAT), people=people, level=level)


def percentile_p(value):
    """Compute the p-value of Davison and Hinkley from the replicates alone."""
    return 2 * min(1 + (value + BELL <= 0).sum(), 1 + (value + BELL >= 0).sum()) / 2001


def test_ten_replicates_beyond_zero_are_counted():
    value = -(BELL[9] + BELL[10]) / 2  # between the tenth and the eleventh lowest
    assert difference(value).p == pytest.approx(2 * 11 / 2001)
    assert difference(-value).p == pytest.approx(2 * 11 / 2001)


def test_fewer_than_ten_beyond_zero_have_the_tail_of_a_normal_distribution():
    value = -(BELL[8] + BELL[9]) / 2
    expected = 2 * stats.norm.sf(value / BELL.std())
    assert expected < 2 * 10 / 2001
    assert difference(value).p == difference(-value).p == pytest.approx(expected)
    # Five standard errors: P(|Z| > 5) = 5.7e-7, where the replicates alone say 2 / 2001.
    assert difference(5.0).p == pytest.approx(5.733e-7, rel=0.05)


def test_the_tail_is_never_larger_than_the_share_of_replicates():
    # 9 of 2,000 replicates lie far off: a normal tail of 1.1 standard deviations would be 0.14.
    heavy = np.where(np.arange(2000) < 9, -60.0, 0.5)
    assert paired_difference((4.0, heavy), (0.0, FLAT)).p == pytest.approx(2 * 10 / 2001)
    for value in np.linspace(0, 6, 61):
        assert difference(value).p <= min(percentile_p(value), 1)


@pytest.mark.parametrize("people", [None, 5, 40])
def test_a_larger_difference_is_never_less_significant(people):
    found = [difference(value, people=people) for value in np.linspace(0, 8, 161)]
    assert (np.diff([d.p for d in found]) <= 0).all()
    assert found[0].p == pytest.approx(1, abs=1e-3)
    assert (np.diff([d.low for d in found]) > 0).all()


def test_few_people_make_a_difference_less_significant():
    for value in (2.0, 3.0, 6.0):
        p = [difference(value, people=people).p for people in (4, 12, 100, None)]
        assert (np.diff(p) < 0).all()
    tail = stats.t.cdf(-6.0 / BELL.std() / np.sqrt(12 / 11), 11)  # the widening of the interval, undone
    assert difference(6.0, people=12).p == pytest.approx(2 * tail)


@pytest.mark.parametrize("people", [None, 12])
def test_twenty_plain_differences_survive_holm(people):
    # Counted alone, 2,000 replicates could not: 20 x 2 / 2001 = 0.02, and with 60 comparisons 0.06.
    plain = [difference(value, people=people).p for value in np.linspace(8, 10, 20)]
    assert (holm(plain) < 0.01).all()
    assert (holm(plain * 3) < 0.01).all()
    assert holm([percentile_p(8.0)] * 60).min() > 0.05
    assert holm([*plain, difference(0.5, people=people).p])[-1] > 0.5


@pytest.mark.parametrize("count", [200, 2000])
@pytest.mark.parametrize("people", [None, 12])
def test_five_percent_is_where_the_interval_reaches_zero(people, count):
    bell = stats.norm.ppf((np.arange(count) + 0.5) / count)
    for value in np.linspace(1.5, 3.2, 35):
        found = paired_difference((value, value + bell), (0.0, 0 * bell), people=people)
        if abs(found.p - 0.05) > 2 / count:  # a replicate more or less
            assert (found.p < 0.05) == (found.low > 0)


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
