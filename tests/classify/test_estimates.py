import numpy as np
import pandas as pd
import pytest

from classify.cuts import cut_points
from classify.estimates import FIGURES, error_rates, estimate_calls, estimate_scores, threshold_intervals
from classify.figures import decision_figures, probability_figures, score_figures
from classify.metrics import DECISIONS, OPERATING, PRESENTATION, PROBABILITY, RANKING
from classify.resampling import resample
from classify.rules import RULES
from classify.thresholds import Unreachable, tune_threshold
from classify.uncertainty import interval

REPLICATES = 80  # more than a chunk


@pytest.fixture
def rows(rng):
    """60 rows of 12 people, each with every column that an estimate reads."""
    label = np.arange(60) % 2
    score = (rng.normal(size=60) + label).round(1)
    people = {
        "identity": [f"p{n}" for n in rng.integers(12, size=60)],
        "source_identity": np.where(label == 1, [f"p{n}" for n in rng.integers(12, size=60)], ""),
    }
    attack = np.where(label == 1, np.where(np.arange(60) % 3 == 0, "lips", "swap"), "")
    table = {
        "clip": [f"clip{n}" for n in range(60)],
        "label": label,
        "attack": attack,
        "fold": np.arange(60) // 20,
    }
    return pd.DataFrame(table | people).assign(
        score=score, called=(score >= 0.5) * 1.0, probability=rng.uniform(size=60)
    )


@pytest.fixture
def drawn(rows):
    return resample(rows, seed=3, replicates=REPLICATES)


CALLS = (estimate_calls, [*DECISIONS, *PRESENTATION], [decision_figures])
SCORES = (estimate_scores, [*RANKING, *OPERATING, *PROBABILITY], [score_figures, probability_figures])
both = pytest.mark.parametrize(("estimate", "names", "statistics"), [CALLS, SCORES])


@both
def test_every_figure_has_a_line_and_a_column(estimate, names, statistics, rows, drawn):
    found = estimate(rows, drawn)
    assert list(found.figures) == FIGURES == ["metric", "estimate", "low", "high", "people", "reals", "fakes"]
    assert found.figures["metric"].tolist() == list(found.replicates) == names
    assert found.replicates.shape == (REPLICATES, len(names))
    assert (found.figures["people"] == drawn.fewest).all()
    assert found.figures[["reals", "fakes"]].drop_duplicates().to_numpy().tolist() == [[30, 30]]


@both
def test_estimates_are_of_the_rows_and_intervals_of_the_replicates(estimate, names, statistics, rows, drawn):
    found = estimate(rows, drawn)
    lines = found.figures.set_index("metric")
    for statistic in statistics:
        many = statistic(rows, cells=drawn.cells, weights=drawn.weights)
        for name, (value,) in statistic(rows, cells=drawn.cells, weights=drawn.unit).items():
            assert lines.loc[name, "estimate"] == value
            np.testing.assert_array_equal(found.replicates[name], many[name])
            ends = interval(value, many[name], people=drawn.fewest)
            assert tuple(lines.loc[name, ["low", "high"]]) == ends
            assert ends[0] < ends[1]


@both
def test_what_is_not_known_has_neither_estimate_nor_interval(estimate, names, statistics, rows, drawn):
    found = estimate(rows.assign(called=np.nan, probability=np.nan), drawn)
    unknown = found.figures.set_index("metric").loc[[n for n in names if n not in (*RANKING, *OPERATING)]]
    assert unknown[["estimate", "low", "high"]].isna().all(axis=None)
    assert list(found.replicates) == names


def test_one_person_a_role_leaves_estimates_without_intervals(rows):
    alone = rows.assign(identity=np.where(rows["label"] == 0, "p0", rows["identity"]))
    drawn = resample(alone, seed=0, replicates=REPLICATES)
    figures = estimate_calls(alone, drawn).figures
    assert figures["estimate"].notna().all()
    assert figures[["low", "high"]].isna().all(axis=None)
    assert (figures["people"] == 1).all()


# -- errors by value -----------------------------------------------------------------------------------------------

COUNTED = pd.DataFrame(
    {
        "label": [1, 1, 1, 1, 1, 0, 0, 0, 0],
        "called": [1.0, 0, 0, 1, 1, 0, 1, 0, 0],
        "attack": ["swap", "swap", "swap", "lips", "lips", "", "", "", ""],
        "skin": ["dark", "dark", "light", "light", "light", "dark", "dark", "light", "dark"],
        "clip": [f"clip{n}" for n in range(9)],
        "identity": "",
        "source_identity": "",
    }
)


@pytest.fixture
def counted():
    return resample(COUNTED, seed=0, replicates=400)


def test_errors_by_attack_by_hand(counted):
    table = error_rates(COUNTED, counted, by="attack").set_index("value")
    assert table.index.tolist() == ["", "lips", "swap"]
    assert table["fakes"].tolist() == [0, 2, 3]
    assert table["reals"].tolist() == [4, 0, 0]
    np.testing.assert_allclose(table["apcer"], [np.nan, 0, 2 / 3])
    np.testing.assert_allclose(table["bpcer"], [1 / 4, np.nan, np.nan])


def test_errors_by_group_by_hand(counted):
    table = error_rates(COUNTED, counted, by="skin")
    assert table[["value", "fakes", "reals"]].to_numpy().tolist() == [["dark", 2, 3], ["light", 3, 1]]
    np.testing.assert_allclose(table["apcer"], [1 / 2, 1 / 3])
    np.testing.assert_allclose(table["bpcer"], [1 / 3, 0])


def test_the_columns_of_errors(counted):
    table = error_rates(COUNTED, counted, by="skin")
    rates = ["apcer", "apcer_low", "apcer_high"], ["bpcer", "bpcer_low", "bpcer_high"]
    assert set(table) == {"value", "fakes", "reals", *rates[0], *rates[1]}
    numbers = error_rates(COUNTED.assign(skin=[1] * 4 + [2] * 5), counted, by="skin")
    assert numbers["value"].tolist() == ["1", "2"]


def test_intervals_of_errors_are_those_of_repeated_rows(rows, drawn):
    table = error_rates(rows, drawn, by="attack").set_index("value")
    for attack, error, wrong in (("swap", "apcer", 0), ("lips", "apcer", 0), ("", "bpcer", 1)):
        places = np.flatnonzero(rows["attack"] == attack)
        called = rows["called"].to_numpy()
        shares = []
        for weight in drawn.weights[:, drawn.cells]:
            again = called[np.repeat(places, weight[places])]
            shares.append(np.mean(again == wrong) if len(again) else np.nan)
        assert table.loc[attack, error] == np.mean(called[places] == wrong)
        roles = ["identity"] if error == "bpcer" else ["identity", "source_identity"]
        people = min(rows.iloc[places][role].nunique() for role in roles)  # all are named here
        ends = interval(table.loc[attack, error], np.array(shares), people=people)
        assert tuple(table.loc[attack, [f"{error}_low", f"{error}_high"]]) == pytest.approx(ends)
        assert ends[0] < ends[1]


def test_without_a_threshold_errors_are_counted_as_unknown(counted):
    table = error_rates(COUNTED.assign(called=[np.nan, *COUNTED["called"][1:]]), counted, by="attack")
    assert table["fakes"].tolist() == [0, 2, 3]
    assert (
        table[["apcer", "apcer_low", "apcer_high", "bpcer", "bpcer_low", "bpcer_high"]].isna().all(axis=None)
    )


# -- thresholds ----------------------------------------------------------------------------------------------------

DEMANDS = ["recall>=0.7", "fpr<=0.2", "apcer<=0.3", "cost(missed=5,rejected=1,prior=0.1)"]


@pytest.mark.parametrize("rule", [*RULES, *DEMANDS])
def test_each_replicate_chooses_as_repeated_rows_would(rule, rows):
    drawn = resample(rows, seed=3, replicates=40)
    y, score, attack = (rows[column].to_numpy() for column in ("label", "score", "attack"))
    attack = attack.astype(str)
    thresholds = cut_points(y, score).thresholds
    values = []
    for weight in drawn.weights[:, drawn.cells]:
        again = np.repeat(np.arange(60), weight)
        chosen = tune_threshold(y[again], score[again], rule=rule, attack=attack[again]).value
        calls = score[again] >= chosen
        # Rows of nobody drawn lie between cuts that call the others alike: the lowest of these counts.
        alike = [t for t in thresholds if ((score[again] >= t) == calls).all()]
        values.append(alike[0])
    value = tune_threshold(y, score, rule=rule, attack=attack).value
    found = threshold_intervals(rows, {rule: value}, drawn)
    assert found == {rule: pytest.approx(interval(value, np.array(values), people=drawn.fewest))}
    assert found[rule][0] < found[rule][1]


def test_rules_have_intervals_of_their_own(rows, drawn):
    rules = {"f1": 0.3, "fpr<=0.2": 1.0}
    together = threshold_intervals(rows, rules, drawn)
    assert list(together) == list(rules)
    for rule, value in rules.items():
        assert threshold_intervals(rows, {rule: value}, drawn)[rule] == together[rule]
    assert together["f1"] != together["fpr<=0.2"]


def test_a_rule_that_cannot_be_met_has_no_interval(rows, drawn):
    assert np.isnan(threshold_intervals(rows, {"f1": np.nan}, drawn)["f1"]).all()


def test_a_rule_that_many_replicates_cannot_meet_has_no_interval(rows, drawn):
    # Two of three replicates draw the real that scores highest: then no fake is caught at an FPR of 0.
    table = rows.assign(score=rows["score"].where(np.arange(60) > 0, 99.0))
    with pytest.raises(Unreachable):
        tune_threshold(table["label"].to_numpy(), table["score"].to_numpy(), rule="fpr<=0")
    assert np.isnan(threshold_intervals(table, {"fpr<=0": 5.0}, drawn)["fpr<=0"]).all()
