"""How much of the score is leakage: the figures, recomputed from scores."""

import statistics
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from classify.comparisons import STEPS
from reports.comparisons import comparison_table, leakage_frame


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def notes(comparison):
    return " ".join(comparison_table(comparison).notes)


def scored_trials(rng):
    """Make trials from scores: (lines of trials, (protocol, repeat) -> [(labels, scores) of each fold])."""
    lines, folds = [], {}
    for repeat in range(3):
        for protocol in STEPS:
            for fold, (reals, fakes) in enumerate([(5, 3), (1, 7), (4, 0)]):
                y = np.repeat([0, 1], [reals, fakes])
                score = np.round(rng.normal(size=len(y)) + y, 1)  # with ties
                folds.setdefault((protocol, repeat), []).append((y, score))
                auc = roc_auc_score(y, score) if fakes else np.nan
                accuracy = float(np.mean((score >= 0) == y))
                lines.append({"protocol": protocol, "repeat": repeat, "fold": fold, "test": "common"})
                lines[-1] |= {"level": "image", "reals": reals, "fakes": fakes, "auc": auc}
                lines[-1] |= {"accuracy": accuracy, "train_reals": 6, "train_fakes": 9, "converged": True}
    return lines, folds


@pytest.fixture
def scored(make_one):
    """A leakage comparison of one model, made from scores: (its frame by protocol, the scores)."""
    lines, folds = scored_trials(np.random.default_rng(7))
    trials = pd.DataFrame(lines).assign(extractor="mobilenetv2", classifier="random_forest")
    comparison = replace(make_one("leakage"), trials=trials)
    return leakage_frame(comparison).set_index("protocol"), folds


def pair_share(folds):
    """Return the share of the pairs of a real and a fake of one fold that are in the right order, ties half."""
    pairs = [(f, r) for y, s in folds for f in s[y == 1] for r in s[y == 0]]
    return sum((f > r) + (f == r) / 2 for f, r in pairs) / len(pairs)


def right_share(folds):
    """Return the share of faces on the right side of the threshold."""
    return float(np.mean(np.concatenate([(s >= 0) == y for y, s in folds])))


MEASURES = pytest.mark.parametrize(("metric", "measure"), [("auc", pair_share), ("accuracy", right_share)])


@MEASURES
def test_a_repeat_counts_pairs_scored_by_the_same_model_and_all_faces(metric, measure, scored):
    frame, folds = scored
    for step in STEPS:
        repeats = [measure(folds[(step, repeat)]) for repeat in range(3)]
        assert frame.loc[step, metric] == pytest.approx(statistics.mean(repeats))
        assert frame.loc[step, f"{metric}_deviation"] == pytest.approx(statistics.stdev(repeats))


@MEASURES
def test_steps_are_taken_within_repeats(metric, measure, scored):
    frame, folds = scored
    assert np.isnan(frame.loc["frame", f"{metric}_step"])
    for before, step in pairwise(STEPS):
        steps = [measure(folds[(step, r)]) - measure(folds[(before, r)]) for r in range(3)]
        assert frame.loc[step, f"{metric}_step"] == pytest.approx(statistics.mean(steps))
        assert frame.loc[step, f"{metric}_step_deviation"] == pytest.approx(statistics.stdev(steps))


def test_the_leakage_table_shows_figures_and_signed_steps(make_one, written):
    # AUC of frame: (60, 48) and (55, 43) of 64, weighted 3 : 1; of clip: (52, 40) and (48, 36)
    table = comparison_table(make_one("leakage"))
    assert table.header == ("Protocol", "AUC", "Step", "Accuracy", "Step", "Published")
    frame, clip = cells(table)[:2]
    assert frame[1:3] == [written([57 / 64, 52 / 64]), ""]
    assert clip[1:3] == [written([49 / 64, 45 / 64]), written([-8 / 64, -7 / 64])]
    # accuracy: 4 of 64 less, weighted 2 : 1
    assert frame[3:5] == [written([52 / 64, 47 / 64]), ""]


def test_a_step_up_has_its_sign(make_one):
    comparison = make_one("leakage")
    trials = comparison.trials
    trials.loc[trials["protocol"] == "frame", "auc"] = 0.25
    assert cells(comparison_table(comparison))[1][2].startswith("+")


def test_no_step_has_no_sign(make_one):
    comparison = make_one("leakage")
    comparison.trials["auc"] = 0.5
    comparison.trials.loc[comparison.trials["protocol"] == "clip", "auc"] -= 1e-9  # as rounding may leave
    assert {row[2] for row in cells(comparison_table(comparison))[1:]} == {"0.00 ± 0.00"}


def test_the_published_accuracies_stand_beside_the_first_step(make_one):
    table = comparison_table(make_one("leakage"))
    shares = table.frame.groupby("protocol")["published_accuracy"].first().dropna()
    assert shares.to_dict() == {"frame": 0.8140, "clip": 0.6145}  # as ours, not in percent
    assert [row[-1] for row in cells(table)] == ["81.40", "61.45", "", ""]
    assert any(note.startswith("Published: accuracy, Deep Fake Detection Using") for note in table.notes)


def test_one_repeat_has_no_deviation(make_one):
    comparison = make_one("leakage")
    comparison = replace(comparison, trials=comparison.trials.query("repeat == 0"))
    rows = cells(comparison_table(comparison))
    assert rows[0][1:] == ["89.06", "", "81.25", "", "81.40"]
    assert rows[1][1:] == ["76.56", "-12.50", "68.75", "-12.50", "61.45"]
    assert "over 1 repeat with other folds" in notes(comparison)


def test_the_notes_of_leakage_say_how_many_faces_trained_and_how_often(make_comparison):
    text = notes(make_comparison("leakage"))
    assert "(6 and 9 in the first)" in text
    assert "over 2 repeats with other folds" in text
    assert "Also in training" not in text  # of four protocols the audit says it one by one
