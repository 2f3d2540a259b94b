import pytest

from benchmarks.coverage import Design, measure

PEOPLE, SETS = 59, 400  # as many people as Celeb-DF v2


@pytest.fixture(scope="module")
def coverage():
    """Share of data sets whose interval, widened for few people, holds the truth, by statistic and kind."""
    measured = measure(Design(people=PEOPLE), sets=SETS, replicates=600, seed=1)
    return measured[measured["method"] == "percentile+t"].groupby(["statistic", "kind"])["covered"].mean()


# Of three sources of variance (targets, sources, people of reals) the one-way kind sees two under AUC, and one of
# two under recall, so recall tells them apart better. A coverage of 0.95 falls below 0.92 in 400 sets for one seed
# in two hundred; the seed is fixed.
@pytest.mark.slow
@pytest.mark.parametrize(("statistic", "gap"), [("auc", 0.03), ("recall", 0.05)])
def test_intervals_over_both_people_of_a_fake_hold_the_truth(coverage, statistic, gap):
    covered = coverage[statistic]
    assert covered["two-way"] >= 0.92
    assert covered["target"] < covered["two-way"] - gap
    assert covered["rows"] < covered["target"] - 0.1


def test_the_simulation_has_the_population_values_it_states(rng):
    design = Design(people=400)
    rows = design.rows(rng)
    score, fake = design.scores(rows, rng), rows["label"].to_numpy() == 1
    recall = (score[fake] >= 1).mean()
    auc = (score[fake][:, None] > score[~fake][None, ::10]).mean()
    assert (recall, auc) == pytest.approx((design.recall, design.auc), abs=0.02)
    assert ((rows["source_identity"] != "") == fake).all()
    assert (rows["source_identity"] != rows["identity"]).all()
