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
).assign(content="y", face=0)
BOTH = {"out-of-fold": FACES, "external": EXTERNAL}
FOUND = SearchResult({"C": 1.0}, False, pd.DataFrame(), FACES["score"].to_numpy())


@pytest.fixture(scope="module")
def unit():
    return judge(FOUND, BOTH, rules=["f1", "eer"], default=0.25)


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
    unit = judge(FOUND, {"out-of-fold": FACES}, rules=["youden"], default=0.5)
    assert set(unit.metrics["data"]) == {"out-of-fold"}
    assert unit.deploy == {"image": {"youden": 0.625}, "video": {"youden": 0.5625}}


def test_external_scores_move_no_threshold(unit):
    wild = EXTERNAL.assign(score=np.array([9.0, -9.0, -5.0, 3.0]))
    other = judge(FOUND, {**BOTH, "external": wild}, rules=["f1", "eer"], default=0.25)
    assert other.deploy == unit.deploy
    pd.testing.assert_series_equal(other.metrics["threshold"], unit.metrics["threshold"])


def test_what_the_search_found_is_passed_on(unit):
    assert unit.best == {"C": 1.0}
    assert unit.converged is False


def test_predictions_say_which_data_they_are_of(unit):
    for data, table in BOTH.items():
        mine = unit.predictions[unit.predictions["data"] == data].drop(columns="data")
        pd.testing.assert_frame_equal(mine.reset_index(drop=True), table)
    assert len(unit.predictions) == len(FACES) + len(EXTERNAL)


def test_no_rule_leaves_the_default():
    unit = judge(FOUND, BOTH, rules=[], default=0.5)
    assert set(unit.metrics["rule"]) == {"default"}
    assert unit.deploy == {"image": {}, "video": {}}


# -- a data set's own test part -------------------------------------------------------------------------------

TEST = EXTERNAL.assign(clip=["g", "g", "h", "h"], score=[0.7, 0.8, 0.9, 1.0])
VALIDATION = FACES[FACES["fold"] == 0]


@pytest.fixture(scope="module")
def official():
    """Judge a validation part of one fold, a test part and external data."""
    scored = {"validation": VALIDATION, "test": TEST, "external": EXTERNAL}
    return judge(FOUND, scored, rules=["f1", "eer"], default=0.25)


def test_one_validation_fold_is_judged_with_the_default_threshold_only(official):
    own = official.metrics[official.metrics["data"] == "validation"]
    assert own[["level", "rule", "fold"]].to_numpy().tolist() == [
        ["image", "default", 0],
        ["video", "default", 0],
    ]


def test_several_validation_folds_are_cross_fitted():
    unit = judge(FOUND, {"validation": FACES, "test": TEST}, rules=["f1"], default=0.25)
    assert line(unit, "validation", "image", "f1", 0)["threshold"] == 0.75
    assert line(unit, "validation", "image", "f1", 1)["threshold"] == 0.5


def test_the_thresholds_are_chosen_on_the_validation_part(official):
    assert official.deploy == {"image": {"f1": 0.5, "eer": 0.5}, "video": {"f1": 0.4375, "eer": 0.4375}}


@pytest.mark.parametrize("data", ["test", "external"])
@pytest.mark.parametrize("level", ["image", "video"])
def test_what_is_judged_once_gets_the_deployed_thresholds(official, data, level):
    mine = official.metrics.query("data == @data and level == @level").set_index("rule")
    assert mine["threshold"].to_dict() == {"default": 0.25, **official.deploy[level]}
    assert (mine["fold"] == -1).all()


def test_the_test_parts_scores_move_no_threshold(official):
    wild = TEST.assign(score=[9.0, -9.0, -5.0, 3.0], label=1 - TEST["label"])
    other = judge(FOUND, {"validation": VALIDATION, "test": wild}, rules=["f1", "eer"], default=0.25)
    assert other.deploy == official.deploy


# -- clips that folds divide ----------------------------------------------------------------------------------


def test_a_divided_clip_counts_once_in_every_fold_that_tests_it():
    faces = pd.DataFrame(
        [("a", 0, 0, 0.25), ("a", 0, 1, 0.5), ("b", 1, 0, 0.5), ("b", 1, 0, 1.0), ("b", 1, 1, 0.75)],
        columns=["clip", "label", "fold", "score"],
    )
    assert at_level(faces, "video").to_dict("list") == {
        "clip": ["a", "a", "b", "b"],
        "fold": [0, 1, 0, 1],
        "label": [0, 0, 1, 1],
        "score": [0.25, 0.5, 0.75, 0.75],
    }


def test_divided_clips_are_cross_fitted_like_others():
    faces = FACES.assign(clip=["d", "a", "a", "b", "d", "a", "c", "b"], label=[1, 0, 0, 1, 1, 0, 0, 1])
    unit = judge(FOUND, {"out-of-fold": faces}, rules=["f1"], default=0.25)
    video = unit.metrics[unit.metrics["level"] == "video"]
    assert video[["rule", "fold"]].to_numpy().tolist() == [
        ["default", 0],
        ["default", 1],
        ["f1", 0],
        ["f1", 1],
    ]
