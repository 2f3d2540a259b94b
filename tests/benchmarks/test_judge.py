import numpy as np
import pandas as pd
import pytest

from benchmarks.judge import at_level, judge
from classify.metrics import METRICS
from classify.search import SearchResult

FACES = pd.DataFrame(
    [
        ("d", 1, 1, 1.0),
        ("a", 0, 0, 0.0),
        ("a", 0, 0, 0.25),
        ("b", 1, 0, 0.75),
        ("b", 1, 0, 0.75),
        ("c", 0, 1, 0.25),
        ("c", 0, 1, 0.5),
        ("d", 1, 1, 1.0),
    ],
    columns=["clip", "label", "fold", "score"],
).assign(content="x", face=0)
EXTERNAL = pd.DataFrame(
    [("e", 0, -1, 0.5), ("e", 0, -1, 0.625), ("f", 1, -1, 0.5), ("f", 1, -1, 1.0)],
    columns=["clip", "label", "fold", "score"],
)
FOUND = SearchResult({"C": 1.0}, False, pd.DataFrame(), FACES["score"].to_numpy())


@pytest.fixture(scope="module")
def unit():
    return judge(FOUND, FACES, EXTERNAL, rules=["f1", "eer"], default=0.25)


def line(unit, data, level, rule, fold):
    metrics = unit.metrics
    chosen = metrics[
        (metrics["data"] == data)
        & (metrics["level"] == level)
        & (metrics["rule"] == rule)
        & (metrics["fold"] == fold)
    ]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_the_image_level_has_one_row_a_face():
    rows = at_level(FACES, "image")
    assert list(rows) == ["clip", "label", "fold", "score"]
    assert rows["score"].tolist() == FACES["score"].tolist()


def test_the_video_level_has_the_mean_of_each_clip():
    rows = at_level(FACES, "video")
    assert rows.to_dict("list") == {
        "clip": ["a", "b", "c", "d"],
        "label": [0, 1, 0, 1],
        "fold": [0, 0, 1, 1],
        "score": [0.125, 0.75, 0.375, 1.0],
    }


def test_every_level_rule_and_fold_has_one_line(unit):
    assert list(unit.metrics) == ["data", "level", "rule", "fold", "threshold", *METRICS]
    for level in ("image", "video"):
        for rule in ("default", "f1", "eer"):
            for data, fold in (("out-of-fold", 0), ("out-of-fold", 1), ("external", -1)):
                line(unit, data, level, rule, fold)
    assert len(unit.metrics) == 2 * 3 * 3


@pytest.mark.parametrize(
    ("level", "fold", "threshold"),
    [
        ("image", 0, 0.75),  # between 0.5 and 1.0 of fold 1
        ("image", 1, 0.5),  # between 0.25 and 0.75 of fold 0
        ("video", 0, 0.6875),  # between 0.375 and 1.0
        ("video", 1, 0.4375),  # between 0.125 and 0.75
    ],
)
def test_a_fold_is_judged_with_the_threshold_of_the_others(unit, level, fold, threshold):
    for rule in ("f1", "eer"):
        assert line(unit, "out-of-fold", level, rule, fold)["threshold"] == threshold


def test_a_cross_fitted_threshold_can_be_wrong(unit):
    figures = line(unit, "out-of-fold", "image", "f1", 1)  # c's face of 0.5 is called fake
    assert figures["recall"] == 1
    assert figures["precision"] == pytest.approx(2 / 3)
    assert figures["accuracy"] == 3 / 4
    assert figures["auc"] == 1


def test_the_deployed_threshold_is_chosen_on_all_out_of_fold_scores(unit):
    assert unit.deploy == {
        "image": {"f1": 0.625, "eer": 0.625},  # between 0.5 and 0.75
        "video": {"f1": 0.5625, "eer": 0.5625},  # between 0.375 and 0.75
    }


def test_external_rows_are_judged_with_the_deployed_threshold(unit):
    image, video = (line(unit, "external", level, "f1", -1) for level in ("image", "video"))
    assert (image["threshold"], video["threshold"]) == (0.625, 0.5625)
    assert (image["recall"], image["precision"]) == (0.5, 0.5)  # 0.625 of e and 1.0 of f are called fake
    assert (video["recall"], video["precision"]) == (1.0, 0.5)  # e's mean is just at the threshold
    assert (image["auc"], video["auc"]) == (0.625, 1.0)


def test_the_default_rule_keeps_the_classifiers_own_threshold(unit):
    default = unit.metrics[unit.metrics["rule"] == "default"]
    assert (default["threshold"] == 0.25).all()
    assert "default" not in unit.deploy["image"]
    assert line(unit, "out-of-fold", "image", "default", 0)["accuracy"] == 3 / 4  # a's 0.25 is called fake
    assert line(unit, "external", "image", "default", -1)["precision"] == 0.5


def test_without_external_data_there_are_no_external_lines():
    unit = judge(FOUND, FACES, None, rules=["youden"], default=0.5)
    assert set(unit.metrics["data"]) == {"out-of-fold"}
    assert unit.deploy == {"image": {"youden": 0.625}, "video": {"youden": 0.5625}}


def test_external_scores_move_no_threshold(unit):
    wild = EXTERNAL.assign(score=np.array([9.0, -9.0, -5.0, 3.0]))
    other = judge(FOUND, FACES, wild, rules=["f1", "eer"], default=0.25)
    assert other.deploy == unit.deploy
    pd.testing.assert_series_equal(other.metrics["threshold"], unit.metrics["threshold"])


def test_what_the_search_found_is_passed_on(unit):
    assert unit.best == {"C": 1.0}
    assert unit.converged is False
    assert unit.predictions is FACES


def test_no_rule_leaves_the_default():
    unit = judge(FOUND, FACES, EXTERNAL, rules=[], default=0.5)
    assert set(unit.metrics["rule"]) == {"default"}
    assert unit.deploy == {"image": {}, "video": {}}
