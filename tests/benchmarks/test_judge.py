from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from benchmarks import judge as judge_module
from benchmarks.judge import Judging, judge
from classify.aggregate import at_level
from classify.calibration import fit_calibration
from classify.metrics import DECISIONS, METRICS, PRESENTATION, SELECTION
from classify.search import Inner, Nested, SearchResult
from classify.thresholds import cross_fit, tune_threshold

PEOPLE = {"attack": "", "identity": "", "source_identity": ""}  # nobody is known
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
).assign(content="x", face=0, **PEOPLE)
EXTERNAL = pd.DataFrame(
    [("e", 0, -1, 0.5), ("e", 0, -1, 0.625), ("f", 1, -1, 0.5), ("f", 1, -1, 1.0)],
    columns=["clip", "label", "fold", "score"],
).assign(content="y", face=0, **PEOPLE)
BOTH = {"out-of-fold": FACES, "external": EXTERNAL}
FOUND = SearchResult({"C": 1.0}, False, pd.DataFrame(), FACES["score"].to_numpy())


def judged(scored, *, rules=("f1", "eer"), default=0.25, **how):
    """Judge scored rows with few replicates."""
    return judge(FOUND, scored, how=Judging(rules, default, **{"replicates": 100, **how}))


@pytest.fixture(scope="module")
def unit():
    return judged(BOTH)


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
    assert list(rows) == ["clip", "label", "fold", "score", *PEOPLE]
    assert rows["score"].tolist() == FACES["score"].tolist()


def test_the_video_level_has_the_mean_of_each_clip():
    rows = at_level(FACES, "video").drop(columns=list(PEOPLE))
    assert rows.to_dict("list") == {
        "clip": ["a", "b", "c", "d"],
        "label": [0, 1, 0, 1],
        "fold": [0, 0, 1, 1],
        "score": [0.125, 0.75, 0.375, 1.0],
    }


def test_every_level_rule_and_fold_has_one_line(unit):
    assert list(unit.metrics) == ["data", "level", "rule", "fold", "threshold", *SELECTION]
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
    unit = judged({"out-of-fold": FACES}, rules=["youden"], default=0.5)
    assert set(unit.metrics["data"]) == {"out-of-fold"}
    assert unit.deploy == {"image": {"youden": 0.625}, "video": {"youden": 0.5625}}


def test_external_scores_move_no_threshold(unit):
    wild = EXTERNAL.assign(score=np.array([9.0, -9.0, -5.0, 3.0]))
    other = judged({**BOTH, "external": wild})
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
    unit = judged(BOTH, rules=[], default=0.5)
    assert set(unit.metrics["rule"]) == {"default"}
    assert unit.deploy == {"image": {}, "video": {}}


# -- a data set's own test part -------------------------------------------------------------------------------

TEST = EXTERNAL.assign(clip=["g", "g", "h", "h"], score=[0.7, 0.8, 0.9, 1.0])
VALIDATION = FACES[FACES["fold"] == 0]


@pytest.fixture(scope="module")
def official():
    """Judge a validation part of one fold, a test part and external data."""
    scored = {"validation": VALIDATION, "test": TEST, "external": EXTERNAL}
    return judged(scored)


def test_one_validation_fold_is_judged_with_the_default_threshold_only(official):
    own = official.metrics[official.metrics["data"] == "validation"]
    assert own[["level", "rule", "fold"]].to_numpy().tolist() == [
        ["image", "default", 0],
        ["video", "default", 0],
    ]


def test_several_validation_folds_are_cross_fitted():
    unit = judged({"validation": FACES, "test": TEST}, rules=["f1"])
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
    other = judged({"validation": VALIDATION, "test": wild})
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
    unit = judged({"out-of-fold": faces}, rules=["f1"])
    video = unit.metrics[unit.metrics["level"] == "video"]
    assert video[["rule", "fold"]].to_numpy().tolist() == [
        ["default", 0],
        ["default", 1],
        ["f1", 0],
        ["f1", 1],
    ]


# -- more rows: nine people in three folds, a genuine clip and fakes of two attacks of each ---------------------


def rows_of(*, seed=0, shift=1.0, folds=3):
    """Make three faces of each clip; the fakes score a little higher, and of the attacks "swap" the highest."""
    rng, lines = np.random.default_rng(seed), []
    for person in range(9):
        for attack, more in (("", 0), ("blend", 0.5 * shift), ("swap", shift)):
            source = f"p{(person + 1) % 9}" if attack == "swap" else ""
            who = (f"{attack}{person}", int(attack != ""), attack, f"p{person}", source)
            lines += [
                (*who, person % folds, more + score, face) for face, score in enumerate(rng.normal(size=3))
            ]
    columns = ["clip", "label", "attack", "identity", "source_identity", "fold", "score", "face"]
    table = pd.DataFrame(lines, columns=columns)
    return table.assign(content=table["clip"], device=np.where(table["identity"] < "p4", "phone", "webcam"))


ROWS = rows_of()
RULES = ("f1", "fpr<=0.2")


def estimate(unit, metric, *, data="out-of-fold", level="image", rule="default"):
    place = {"data": data, "level": level, "rule": rule, "metric": metric}
    found = unit.estimates[(unit.estimates[list(place)] == pd.Series(place)).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


def thresholds(unit, *, data="out-of-fold", level="image", rule="f1"):
    mine = unit.metrics.query("data == @data and level == @level and rule == @rule")
    return mine.set_index("fold")["threshold"]


@pytest.fixture(scope="module")
def larger():
    """Judge the larger rows, as they are, perturbed, and those of other people."""
    elsewhere = rows_of(seed=2).assign(fold=-1, identity="", source_identity="")
    noisy = rows_of(seed=1, shift=0.25)
    scored = {"out-of-fold": ROWS, "external": elsewhere, "noise-20": noisy}
    return judged(scored, rules=RULES, columns=["device"])


# -- cross-fitting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["image", "video"])
@pytest.mark.parametrize("rule", RULES)
def test_a_folds_own_rows_never_move_its_threshold(level, rule, larger):
    wild = ROWS["score"].where(ROWS["fold"] != 1, 5 - 3 * ROWS["score"])
    other = judged({"out-of-fold": ROWS.assign(score=wild)}, rules=RULES)
    before, after = (thresholds(unit, level=level, rule=rule) for unit in (larger, other))
    assert after[1] == before[1]
    assert (after != before).any()


@pytest.mark.parametrize("level", ["image", "video"])
@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_folds_own_rows_never_move_its_probabilities(level, method, monkeypatch):
    wild = ROWS.assign(label=ROWS["label"].where(ROWS["fold"] != 1, 1 - ROWS["label"]))
    mine, other = (probabilities(rows, level, method, monkeypatch) for rows in (ROWS, wild))
    fold = at_level(ROWS, level)["fold"].to_numpy()
    np.testing.assert_array_equal(mine[fold == 1], other[fold == 1])
    assert (mine[fold != 1] != other[fold != 1]).any()
    assert np.isfinite(mine).all()


def probabilities(rows, level, method, monkeypatch):
    """Return the probabilities that the out-of-fold rows of a level were judged by."""
    seen = []
    real = judge_module.estimate_scores
    with monkeypatch.context() as patch:
        patch.setattr(judge_module, "estimate_scores", lambda t, r: seen.append(t) or real(t, r))
        judged({"out-of-fold": rows}, rules=["f1"], calibration=method)
    return seen[["image", "video"].index(level)]["probability"].to_numpy()


@pytest.mark.parametrize("level", ["image", "video"])
def test_probabilities_are_those_of_the_calibration_on_the_other_folds(level, monkeypatch):
    table = at_level(ROWS, level)
    y, score, fold = (table[column].to_numpy() for column in ("label", "score", "fold"))
    expected = np.full(len(y), np.nan)
    for number in np.unique(fold):
        others = fold != number
        expected[~others] = fit_calibration(y[others], score[others], method="platt")(score[~others])
    np.testing.assert_array_equal(probabilities(ROWS, level, "platt", monkeypatch), expected)


def test_external_rows_get_the_calibration_that_was_fitted_on_all(larger):
    own = at_level(ROWS, "video")
    fitted = fit_calibration(own["label"].to_numpy(), own["score"].to_numpy(), method="platt")
    assert larger.calibration["video"] == fitted
    external = at_level(larger.predictions.query("data == 'external'"), "video")
    expected = ((fitted(external["score"].to_numpy()) - external["label"]) ** 2).mean()
    assert estimate(larger, "brier", data="external", level="video")["estimate"] == pytest.approx(expected)


def test_without_calibration_there_are_no_probabilities():
    unit = judged({"out-of-fold": ROWS}, calibration="none")
    assert unit.calibration == {"image": None, "video": None}
    assert estimate(unit, "brier")[["estimate", "low", "high"]].isna().all()
    assert np.isfinite(estimate(unit, "auc")["estimate"])


# -- perturbed rows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["image", "video"])
@pytest.mark.parametrize("rule", RULES)
def test_perturbed_rows_are_judged_by_the_threshold_of_their_own_fold(level, rule, larger):
    pd.testing.assert_series_equal(
        thresholds(larger, data="noise-20", level=level, rule=rule),
        thresholds(larger, level=level, rule=rule),
    )
    noisy = at_level(larger.predictions.query("data == 'noise-20'"), level)
    called = noisy["score"] >= noisy["fold"].map(thresholds(larger, level=level, rule=rule))
    found = estimate(larger, "recall", data="noise-20", level=level, rule=rule)
    assert found["estimate"] == pytest.approx(called[noisy["label"] == 1].mean())


def test_rows_of_fold_minus_1_are_judged_by_the_threshold_chosen_on_all(larger):
    for level in ("image", "video"):
        for rule in RULES:
            deployed = larger.deploy[level][rule]
            assert thresholds(larger, data="external", level=level, rule=rule).to_dict() == {-1: deployed}
            external = at_level(larger.predictions.query("data == 'external'"), level)
            called = external["score"] >= deployed
            found = estimate(larger, "bpcer", data="external", level=level, rule=rule)
            assert found["estimate"] == pytest.approx(called[external["label"] == 0].mean())


# -- rules that cannot be met ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hopeless():
    """Judge rows of which a genuine face scores highest: no threshold catches a fake without it."""
    top = ROWS["score"].where((ROWS["clip"] != "0") | (ROWS["face"] > 0), 100.0)
    scored = {"out-of-fold": ROWS.assign(score=top), "external": rows_of(seed=2).assign(fold=-1)}
    return judged(scored, rules=["fpr<=0", "f1"])


def test_a_rule_that_cannot_be_met_is_recorded_with_what_was_reachable(hopeless):
    assert list(hopeless.unreachable["image"]) == ["fpr<=0"]
    message = hopeless.unreachable["image"]["fpr<=0"]
    assert message.startswith("Expected a threshold with FPR at most 0 on these 81 scores; ")
    assert "with any fake caught, FPR is at least 0.037" in message  # one of 27
    assert hopeless.deploy["image"]["fpr<=0"] is None
    assert hopeless.deploy["image"]["f1"] is not None


def test_a_rule_that_cannot_be_met_has_no_figures(hopeless):
    for data in ("out-of-fold", "external"):
        found = estimate(hopeless, "recall", data=data, rule="fpr<=0")
        assert found[["estimate", "low", "high"]].isna().all()
    assert estimate(hopeless, "threshold", rule="fpr<=0")[["estimate", "low", "high"]].isna().all()
    errors = hopeless.errors.query("level == 'image' and rule == 'fpr<=0' and data == 'external'")
    assert errors[["apcer", "apcer_low", "bpcer"]].isna().all(axis=None)
    assert errors["fakes"].sum() == 54
    assert np.isfinite(estimate(hopeless, "recall", rule="f1")["estimate"])


def test_a_fold_whose_others_meet_a_rule_has_a_threshold_though_all_do_not(hopeless):
    applied = thresholds(hopeless, rule="fpr<=0")
    assert applied.isna().to_dict() == {0: False, 1: True, 2: True}  # the outlier is in fold 0


# -- how a clip's faces make its score ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aggregate", "combine"),
    [
        ("mean", np.mean),
        ("median", np.median),
        ("max", np.max),
        ("top2", lambda scores: np.mean(sorted(scores)[-2:])),
        ("top9", np.mean),  # of fewer, all
    ],
)
def test_a_clips_score_is_what_the_suite_asks_for(aggregate, combine):
    unit = judged({"out-of-fold": ROWS}, aggregate=aggregate)
    clips = ROWS.groupby("clip").agg({"score": combine, "label": "first", "fold": "first"})
    expected = cross_fit(*(clips[c].to_numpy() for c in ("label", "score", "fold")), rule="f1")
    np.testing.assert_allclose(thresholds(unit, level="video"), expected)
    called = clips["score"] >= 0.25
    found = estimate(unit, "bpcer", level="video")["estimate"]
    assert found == pytest.approx(called[clips["label"] == 0].mean())


def test_a_clips_score_does_not_touch_the_image_level(larger):
    unit = judged({"out-of-fold": ROWS}, rules=RULES, aggregate="max")
    same, other = (unit.estimates.query("level == @level") for level in ("image", "video"))
    before = larger.estimates.query("data == 'out-of-fold'")
    pd.testing.assert_frame_equal(same, before.query("level == 'image'"), check_index_type=False)
    assert (other["estimate"].to_numpy() != before.query("level == 'video'")["estimate"].to_numpy()).any()


# -- error rates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["image", "video"])
@pytest.mark.parametrize("data", ["out-of-fold", "external", "noise-20"])
def test_errors_are_counted_by_attack_and_by_further_columns(data, level, larger):
    rows = {"out-of-fold": ROWS, "external": rows_of(seed=2), "noise-20": rows_of(seed=1, shift=0.25)}[data]
    table = at_level(rows, level)
    mine = larger.errors.query("data == @data and level == @level and rule == 'default'")
    for column, values in (("attack", ["", "blend", "swap"]), ("device", ["phone", "webcam"])):
        lines = mine[mine["column"] == column].set_index("value")
        assert list(lines.index) == values
        for value, line in lines.iterrows():
            part = table[table[column] == value]
            fakes, reals = (part[part["label"] == label]["score"] for label in (1, 0))
            assert (line["fakes"], line["reals"]) == (len(fakes), len(reals))
            assert line["apcer"] == pytest.approx((fakes < 0.25).mean(), nan_ok=True)
            assert line["bpcer"] == pytest.approx((reals >= 0.25).mean(), nan_ok=True)


def test_every_rule_has_its_errors(larger):
    assert set(larger.errors["rule"]) == {"default", *RULES}
    assert not larger.errors.duplicated(["data", "level", "rule", "column", "value"]).any()


def test_apcer_is_that_of_the_worst_attack(larger):
    for rule in ("default", *RULES):
        by = larger.errors.query("data == 'out-of-fold' and level == 'video' and rule == @rule")
        by = by[by["column"] == "attack"]
        found = estimate(larger, "apcer", level="video", rule=rule)["estimate"]
        assert found == pytest.approx(by["apcer"].max())


def test_further_columns_are_not_repeated_in_the_predictions(larger):
    assert "device" not in larger.predictions


# -- replicates and intervals ------------------------------------------------------------------------------------


def test_the_same_people_are_drawn_for_every_model(larger):
    again = judged({"out-of-fold": ROWS.assign(score=2 * ROWS["score"] - 0.25)}, rules=RULES)
    for level in ("image", "video"):
        for metric in SELECTION:  # the same order, and the same calls at the default threshold of 0.25
            column = f"out-of-fold {level} {metric}"
            pd.testing.assert_series_equal(again.replicates[column], larger.replicates[column])


def test_another_seed_draws_other_people(larger):
    other = judged({"out-of-fold": ROWS}, rules=RULES, seed=1)
    assert (other.replicates["out-of-fold image auc"] != larger.replicates["out-of-fold image auc"]).any()


def test_every_data_level_and_metric_has_its_replicates(larger):
    assert list(larger.replicates) == [
        f"{data} {level} {metric}"
        for data in ("out-of-fold", "external", "noise-20")
        for level in ("image", "video")
        for metric in SELECTION
    ]
    assert len(larger.replicates) == 100


def test_intervals_contain_their_estimates_and_vary(larger):
    known = larger.estimates.dropna(subset="low")
    ordinary = known[known["metric"].isin([*SELECTION, "eer", "brier", "log_loss", "bpcer"])]
    assert len(ordinary) > 150
    assert (ordinary["low"] <= ordinary["estimate"]).all()
    assert (ordinary["estimate"] <= ordinary["high"]).all()
    assert (ordinary["low"] < ordinary["high"]).mean() > 0.9
    errors = larger.errors.dropna(subset="apcer_low")
    assert errors["apcer"].between(errors["apcer_low"], errors["apcer_high"]).all()


def test_the_interval_of_a_threshold_contains_it(larger):
    for level in ("image", "video"):
        for rule in RULES:
            found = estimate(larger, "threshold", level=level, rule=rule)
            assert found["estimate"] == larger.deploy[level][rule]
            assert found["low"] <= found["estimate"] <= found["high"]


def test_every_estimate_says_on_how_many_people_it_rests(larger):
    own = larger.estimates.query("data == 'out-of-fold'")
    assert set(own["people"]) == {9}


def test_every_metric_stands_once_at_each_threshold(larger):
    assert not larger.estimates.duplicated(["data", "level", "rule", "metric"]).any()
    mine = larger.estimates.query("data == 'out-of-fold' and level == 'image'")
    assert set(mine.query("rule == 'default'")["metric"]) == set(METRICS)
    tuned = {*DECISIONS, *PRESENTATION}
    assert set(mine.query("rule == 'f1'")["metric"]) == {*tuned, "threshold"}
    assert set(larger.estimates.query("data == 'external' and rule == 'f1'")["metric"]) == tuned


# -- one validation part -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_part():
    """Judge a validation part of one fold, and a test part."""
    return judged({"validation": ROWS.assign(fold=0), "test": rows_of(seed=2).assign(fold=-1)}, rules=RULES)


def test_one_validation_part_gives_no_tuned_figures_for_itself(one_part):
    for table in (one_part.metrics, one_part.errors):
        assert set(table.query("data == 'validation'")["rule"]) == {"default"}
    own = one_part.estimates.query("data == 'validation' and rule != 'default'")
    assert set(own["metric"]) == {"threshold"}  # the one to deploy, with its interval
    assert own["estimate"].notna().all()


def test_one_validation_part_gives_no_probabilities_for_itself_but_for_the_test_part(one_part):
    assert np.isnan(estimate(one_part, "brier", data="validation")["estimate"])
    assert np.isfinite(estimate(one_part, "brier", data="test")["estimate"])
    assert one_part.calibration["image"] is not None


# -- nested ----------------------------------------------------------------------------------------------------------


def inside_of(rows, k, *, seed):
    """Score the rows inside fold k's training part anew: those of the other two folds, numbered from 0."""
    mine = rows[rows["fold"] != k]
    score = mine["score"] + np.random.default_rng(seed).normal(size=len(mine))
    return mine.assign(fold=mine["fold"] - (mine["fold"] > k), score=score)


INSIDE = [inside_of(ROWS, k, seed=10 + k) for k in range(3)]
BY_NESTED = ROWS.assign(score=rows_of(seed=5)["score"])


def judge_nested(own=ROWS, nested=BY_NESTED, inside=INSIDE, **how):
    inner = [Inner({"C": k}, k != 1, np.empty(0), np.empty(0, int)) for k in range(3)]
    found = replace(FOUND, nested=Nested(np.empty(0), tuple(inner)))
    how = Judging(RULES, 0.25, **{"replicates": 100, **how})
    return judge(found, {"out-of-fold": own, "nested": nested}, inside=inside, how=how)


@pytest.fixture(scope="module")
def with_nested():
    return judge_nested()


@pytest.mark.parametrize("level", ["image", "video"])
@pytest.mark.parametrize("rule", RULES)
def test_a_nested_fold_is_judged_with_the_threshold_of_all_that_is_inside_it(level, rule, with_nested):
    applied = thresholds(with_nested, data="nested", level=level, rule=rule)
    rows, called = at_level(BY_NESTED, level), []
    for k, faces in enumerate(INSIDE):
        table = at_level(faces, level)
        y, score, attack = (table[c].to_numpy() for c in ("label", "score", "attack"))
        assert applied[k] == tune_threshold(y, score, rule=rule, attack=attack.astype(str)).value
        called.append(rows[rows["fold"] == k].assign(called=lambda part, k=k: part["score"] >= applied[k]))
        ours = line(with_nested, "nested", level, rule, k)
        assert ours["f1"] == f1_score(called[-1]["label"], called[-1]["called"])
    rows = pd.concat(called)
    for metric, label, wrong in (("recall", 1, 1), ("bpcer", 0, 1)):
        found = estimate(with_nested, metric, data="nested", level=level, rule=rule)["estimate"]
        assert found == pytest.approx((rows["called"] == wrong)[rows["label"] == label].mean())


@pytest.mark.parametrize("level", ["image", "video"])
def test_nested_probabilities_are_those_of_the_calibration_on_all_that_is_inside(level, with_nested):
    rows, squares = at_level(BY_NESTED, level), []
    for k, faces in enumerate(INSIDE):
        table, tested = at_level(faces, level), rows[rows["fold"] == k]
        fitted = fit_calibration(table["label"].to_numpy(), table["score"].to_numpy(), method="platt")
        squares += list((fitted(tested["score"].to_numpy()) - tested["label"]) ** 2)
    found = estimate(with_nested, "brier", data="nested", level=level)["estimate"]
    assert found == pytest.approx(np.mean(squares))


def test_nested_figures_change_nothing_of_the_others(with_nested):
    plain = judged({"out-of-fold": ROWS}, rules=RULES)
    assert (with_nested.deploy, with_nested.calibration) == (plain.deploy, plain.calibration)
    for table in ("metrics", "estimates", "errors", "predictions"):
        theirs = getattr(with_nested, table).query("data == 'out-of-fold'")
        pd.testing.assert_frame_equal(theirs.reset_index(drop=True), getattr(plain, table))
    assert "threshold" not in set(with_nested.estimates.query("data == 'nested'")["metric"])


def test_nested_replicates_draw_the_same_people(with_nested):
    same = judge_nested(nested=ROWS).replicates
    for level in ("image", "video"):
        assert (same[f"nested {level} auc"] == same[f"out-of-fold {level} auc"]).all()
        assert f"nested {level} f1" in with_nested.replicates


def test_a_rule_that_one_fold_cannot_meet_inside_has_no_nested_figures():
    blind = INSIDE[1].assign(score=0.0)  # one score for all: every cut calls all of them fake, or none
    unit = judge_nested(inside=[INSIDE[0], blind, INSIDE[2]])
    applied = thresholds(unit, data="nested", rule="fpr<=0.2")
    assert applied.isna().tolist() == [False, True, False]
    assert np.isnan(estimate(unit, "recall", data="nested", rule="fpr<=0.2")["estimate"])
    assert np.isfinite(estimate(unit, "recall", data="nested")["estimate"])
    assert unit.unreachable == {"image": {}, "video": {}}  # there is one to deploy


def test_what_was_chosen_inside_each_fold_is_passed_on(with_nested):
    assert with_nested.nested == [{"best": {"C": k}, "converged": k != 1} for k in range(3)]
    assert judged(BOTH).nested is None


@pytest.mark.parametrize("n", [600, 150_000])
def test_other_processes_judge_alike(n):
    """What is larger than a megabyte, they map: it is read-only."""
    random, clips = np.random.default_rng(0), np.arange(n) // (n // 60)
    own = pd.DataFrame(
        {"clip": clips.astype(str), "label": clips % 2, "fold": clips % 3, "score": random.random(n)}
    )
    own = own.assign(content="x", face=0, **PEOPLE)
    again, other = own.assign(score=random.random(n)), own.assign(fold=-1, score=random.random(n))
    scored, inside = (
        {"out-of-fold": own, "nested": again, "external": other},
        [own[own["fold"] != k] for k in range(3)],
    )
    found = SearchResult(
        {"C": 1.0}, False, pd.DataFrame(), own["score"].to_numpy(), Nested(again["score"].to_numpy(), ())
    )
    how = Judging(("f1",), 0.5, replicates=10)
    here, there = (judge(found, scored, inside=inside, how=how, workers=workers) for workers in (1, 2))
    for name in ("metrics", "estimates", "errors", "replicates", "predictions"):
        pd.testing.assert_frame_equal(getattr(there, name), getattr(here, name), check_exact=True)
    assert (there.best, there.deploy, there.calibration) == (here.best, here.deploy, here.calibration)


@pytest.mark.parametrize(("workers", "used"), [(1, {1}), (2, {2}), (16, {1})])
def test_processes_that_would_be_fewer_than_the_search_has_are_not_started(monkeypatch, workers, used):
    seen = set()

    def run_units(work, units, *, workers):
        seen.add(workers)
        return ((number, work(unit)) for number, unit in enumerate(units))

    monkeypatch.setattr(judge_module, "run_units", run_units)
    judge(FOUND, BOTH, how=Judging(("f1",), 0.25, replicates=10), workers=workers)
    assert seen == used
