"""What `threshold` says of a finished run, on scores made by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.card import write_card
from benchmarks.judge import DEFAULT
from benchmarks.try_rule import try_rule
from extract.errors import RequestError
from extract.files import write_json
from reports.threshold import answer, curves_frame, describe, read_models, threshold_table
from reports.threshold_plots import plot_curves

MODEL = ("mobilenetv2", "logistic_regression")
NAMES = {"extractor": MODEL[0], "classifier": MODEL[1]}


@pytest.fixture
def folder(write_run):
    return write_run()


def test_a_rule_of_the_run_gives_the_runs_own_figures(folder, make_run):
    _, model, tried = answer(folder, rule="f1", **NAMES)
    unit = make_run().units[MODEL]
    assert model == MODEL
    assert tried.value == unit.deploy[tried.level]["f1"]
    mine = unit.estimates.query(f"level == '{tried.level}' and rule == 'f1' and data == 'out-of-fold'")
    stored = mine.set_index("metric")
    for line in tried.figures.query("rule == 'f1' and data == 'out-of-fold'").itertuples():
        assert line.estimate == stored.loc[line.metric, "estimate"]
        assert (line.low, line.high) == pytest.approx(
            tuple(stored.loc[line.metric, ["low", "high"]]), nan_ok=True
        )


def test_external_data_is_judged_with_the_threshold_to_deploy(folder):
    _, _, tried = answer(folder, rule="youden", **NAMES)
    external = tried.figures.query("data == 'external' and rule == 'youden'")
    assert set(external["applied_lowest"]) == set(external["applied_highest"]) == {tried.value}
    rows = tried.scored["external"]
    fakes = rows[rows["label"] == 1]["score"]
    recall = external.set_index("metric").loc["recall", "estimate"]
    assert recall == pytest.approx((fakes >= tried.value).mean())


def test_the_cost_in_words_is_that_of_the_furthest_data(folder):
    run, model, tried = answer(folder, rule="f1", prior=0.1, **NAMES)
    figures = tried.figures.query("data == 'external' and rule == 'f1'").set_index("metric")["estimate"]
    (line,) = (line for line in describe(run, model, tried, prior=0.1) if line.startswith("What it costs"))
    assert "by the external" in line
    assert f"{(1 - figures['recall']) * 1000:,.0f} of 1,000 fakes pass" in line
    assert f"{figures['bpcer'] * 9000:,.0f} of 9,000 genuine ones" in line


def test_a_rule_that_the_other_folds_cannot_meet_is_not_judged_and_says_so(folder, monkeypatch):
    import benchmarks.try_rule as module

    real = module.choose_on

    def one_fold_lacks(own, how):
        chosen = real(own, how)
        for rule, values in chosen.thresholds.items():
            if rule != DEFAULT:
                values[0] = np.nan
        return chosen

    monkeypatch.setattr(module, "choose_on", one_fold_lacks)
    run, model, tried = answer(folder, rule="f1", **NAMES)
    assert tried.unmet == 1
    tuned = tried.figures.query("data == 'out-of-fold' and rule == 'f1'")
    assert tuned["estimate"].isna().all()
    assert np.isfinite(tuned["applied_lowest"]).all()
    assert any(
        "Not judged out-of-fold: for 1 of the folds" in line
        for line in describe(run, model, tried, prior=None)
    )
    for row in threshold_table(run, model, tried).rows:
        assert "nan" not in " ".join(cell.text for cell in row)


def test_a_demand_counts_people_not_rows(folder):
    run, model, tried = answer(folder, rule="fpr<=0.05", level="image", **NAMES)
    (line,) = (line for line in describe(run, model, tried, prior=None) if "rule of three" in line)
    own = tried.scored["out-of-fold"]
    reals = own[own["label"] == 0]
    people = reals["identity"].nunique()
    assert people < len(reals)
    assert f"The {len(reals)} genuine faces are of {people} people" in line


def test_a_comparison_has_no_threshold(folder):
    write_json(folder / "comparison.json", {"name": "leakage"})
    with pytest.raises(RequestError, match="holds a comparison"):
        read_models(folder)


def test_one_class_left_is_refused_and_elsewhere_left_out(folder):
    path = folder / "units" / MODEL[0] / MODEL[1] / "predictions.parquet"
    stored = pd.read_parquet(path)
    stored[(stored["data"] != "external") | (stored["label"] == 1)].to_parquet(path, index=False)
    run = read_models(folder)
    data = ("out-of-fold", "external")
    assert list(try_rule(run, MODEL, rule="f1", level="image", data=data).scored) == ["out-of-fold"]
    stored[stored["label"] == 1].to_parquet(path, index=False)
    with pytest.raises(RequestError, match="Expected scores of real and fake clips"):
        try_rule(run, MODEL, rule="f1", level="image", data=data)


def test_the_figure_draws_every_curve_and_nothing_lies_outside(folder, check_whole):
    _, _, tried = answer(folder, rule="eer", **NAMES)
    frame = curves_frame(tried, prior=0.02)
    figure = plot_curves(frame, tried, title="A model", prior=0.02)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:5] == [
        "ROC",
        "DET",
        "Precision-recall at 2 % fakes",
        "Against the threshold",
        "Reliability",
    ]
    drawn = {line.get_label(): line for line in figure.axes[0].get_lines()}
    roc = frame.query("curve == 'roc' and data == 'out-of-fold'")
    np.testing.assert_array_equal(drawn["out-of-fold"].get_xdata(), roc["x"])
    np.testing.assert_array_equal(drawn["out-of-fold"].get_ydata(), roc["y"])
    check_whole(figure)


def test_precision_at_a_prior_by_hand(folder):
    _, _, tried = answer(folder, rule="eer", **NAMES)
    frame = curves_frame(tried, prior=0.1).query("curve == 'precision-recall' and data == 'external'")
    rows = tried.scored["external"]
    cut = np.sort(rows["score"].unique())[-3]
    called = rows["score"] >= cut
    recall, fpr = (called[rows["label"] == kind].mean() for kind in (1, 0))
    expected = 0.1 * recall / (0.1 * recall + 0.9 * fpr)
    assert np.isclose(frame["x"], recall).any()
    assert np.isclose(frame[np.isclose(frame["x"], recall)]["y"], expected).any()


CARD = {
    "name": "suite",
    "faces": {"detector": "mtcnn"},
    "extractor": {"title": "MobileNetV2", "weights": "package", "source": "a package", "dim": 4},
    "classifier": {"name": "svc", "parameters": {"C": 1.0}, "models": 5, "refit": False},
    "versions": {"deepfake-transfer-bench": "0.1.0"},
    "data": {
        "protocol": "component",
        "counts": {"faces": 10, "fake_faces": 5, "clips": 4, "fake_clips": 2, "identities": 2},
        "attacks": {"swap": 2},
    },
    "level": "image",
    "aggregate": "max",
    "rule": "fpr<=0.01",
    "threshold": 0.5,
    "threshold_low": None,
    "threshold_high": None,
    "calibration": None,
    "prior": None,
}


def lines(data, value):
    metrics = ("recall", "precision", "f1", "accuracy", "apcer", "bpcer")
    ends = {"low": value, "high": value, "people": 7}
    return [{"data": data, "metric": metric, "estimate": value, **ends} for metric in metrics]


def test_the_card_of_a_threshold_that_could_not_be_judged():
    card = write_card({**CARD, "metrics": lines("out-of-fold", None)})
    assert "could not be judged" in card
    assert "nan" not in card
    assert "the max of its faces is compared" in card


def test_the_card_tells_what_is_known_from_elsewhere():
    card = write_card({**CARD, "metrics": [*lines("out-of-fold", None), *lines("external", 0.25)]})
    assert "miss 75 % of the fakes and to reject 25 % of the genuine ones" in card
    assert "(external)" in card


def test_the_card_of_a_classifiers_own_threshold():
    card = write_card({**CARD, "rule": DEFAULT, "metrics": lines("out-of-fold", 0.5)})
    assert "It is the classifier's own" in card
