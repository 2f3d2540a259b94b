"""A new attack, k of its clips in training: the figures, recomputed."""

import statistics
from dataclasses import replace

import pytest

from reports.comparisons import comparison_table, new_attack_frame

KEYS = ["extractor", "classifier", "level"]


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def notes(comparison):
    return " ".join(comparison_table(comparison).notes)


def test_a_point_of_the_curve_is_the_mean_over_folds_and_draws(make_comparison):
    comparison = make_comparison("new-attack")
    frame = new_attack_frame(comparison)
    trials = comparison.trials.groupby([*KEYS, "attack", "clips"])
    assert len(frame) == len(trials)
    for line in frame.itertuples():
        mine = trials.get_group((line.extractor, line.classifier, line.level, line.attack, line.clips))
        assert line.trials == len(mine)
        for metric in ("auc", "recall", "fpr", "seconds"):
            assert getattr(line, metric) == pytest.approx(statistics.mean(mine[metric]))
            assert getattr(line, f"{metric}_deviation") == pytest.approx(statistics.stdev(mine[metric]))


def test_the_trials_are_folds_times_draws_and_k_0_has_one_draw(make_one):
    frame = comparison_table(make_one("new-attack")).frame.query("level == 'image'")
    assert list(zip(frame["attack"], frame["clips"], frame["trials"], strict=True)) == [
        ("Deepfakes", 0, 2),
        ("Deepfakes", 1, 4),
        ("Deepfakes", 5, 2),  # in one fold only
        ("FaceSwap", 0, 2),
        ("FaceSwap", 1, 4),
        ("FaceSwap", 5, 4),
    ]


def test_a_line_is_an_attack_with_k_of_its_clips_and_what_a_fit_takes(make_one):
    table = comparison_table(make_one("new-attack"))
    assert table.header == ("New attack", "k", "AUC", "Recall", "FPR", "Training, s")
    assert [(*row[:2], row[-1]) for row in cells(table)] == [
        (attack, k, seconds)
        for attack in ("Deepfakes", "FaceSwap")
        for k, seconds in (("0", "0.25"), ("1", "0.50"), ("5", "0.75"))
    ]


def test_the_new_attack_table_shows_its_frame(make_one, written):
    row = cells(comparison_table(make_one("new-attack")))[1]
    auc = [44 / 64, 46 / 64, 40 / 64, 42 / 64]
    assert row[2:5] == [
        written(auc),
        written([share - 8 / 64 for share in auc]),
        written([(1 - share) / 2 for share in auc]),
    ]


def test_a_k_that_not_every_fold_can_fill_is_pointed_out(make_comparison):
    comparison = make_comparison("new-attack")
    assert "Not every fold has 5 clips of the attack" in notes(comparison)
    comparison = replace(comparison, trials=comparison.trials.query("attack == 'FaceSwap'"))
    assert "Not every fold" not in notes(comparison)


def test_a_fold_without_any_clip_of_the_attack_is_pointed_out(make_comparison):
    comparison = make_comparison("new-attack")
    trials = comparison.trials.query("attack == 'FaceSwap' and (fold == 0 or clips == 0)")
    assert "Not every fold has 1" in notes(replace(comparison, trials=trials))
