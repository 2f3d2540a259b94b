"""Choosing a threshold, as its users meet it."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks.results import read_run
from classify.cuts import cut_points


@pytest.fixture(scope="module")
def results(finished):
    (folder,) = (finished / "results").glob("tiny-*")
    return folder


@pytest.fixture
def ask(cli, results):
    """Ask the finished run for a threshold; returns status, output, errors."""
    return lambda *words: cli("threshold", results, *words)


def value_in(out):
    return float(re.search(r"called fake from (\S+)", out)[1])


def clips_of(results):
    run = read_run(results)
    (unit,) = (unit for model, unit in run.units.items() if model == ("mobilenetv2", "logistic_regression"))
    own = unit.predictions.query("data == 'out-of-fold'")
    return own.groupby("clip").agg(label=("label", "first"), score=("score", "mean"))


ONE = ("--extractor", "mobilenetv2", "--classifier", "logistic_regression")


def test_the_threshold_is_the_best_of_all_cuts_of_the_stored_scores(ask, results):
    status, out, _ = ask("--rule", "fpr<=0.3", *ONE)
    assert status == 0
    clips = clips_of(results)
    cuts = cut_points(clips["label"].to_numpy(), clips["score"].to_numpy())
    allowed = np.flatnonzero((cuts.fpr <= 0.3) & (cuts.recall == cuts.recall[cuts.fpr <= 0.3].max()))
    # of equal recalls the one with the fewest false positives, then the lowest
    best = allowed[np.argmin(cuts.fp[allowed])]
    assert value_in(out) == pytest.approx(cuts.thresholds[best], rel=1e-4)


def test_the_answer_says_what_it_costs_and_how_sure_it_is(ask):
    _, out, _ = ask("--rule", "fpr<=0.3", "--prior", "0.02", *ONE)
    for words in (
        "video level",
        "95 % interval",
        "Rule: FPR at most 0.3, with the highest recall.",
        "of 10,000 checks with 2 % fakes",
        "of 200 fakes pass",
        "of 9,800 genuine ones are rejected",
        "Calibrated (platt)",
        "cross-fitted",
        "bootstrap over people",
        "Few people",
    ):
        assert words in " ".join(out.split()), words


def test_curves_and_table_lie_in_the_results_folder(ask, results):
    _, out, _ = ask("--rule", "recall>=0.6", "--level", "image", *ONE)
    folder = results / "thresholds" / "mobilenetv2-logistic_regression-image-recall-at-least-0.6"
    assert str(folder) in out.replace("\n", "")
    assert {path.name for path in folder.iterdir()} == {
        *("threshold.md", "threshold.tex", "threshold.csv"),
        *("curves.png", "curves.svg", "curves.csv"),
    }
    curves = pd.read_csv(folder / "curves.csv")
    assert set(curves["curve"]) == {"roc", "det", "precision-recall", "threshold", "reliability"}
    roc = curves.query("curve == 'roc'")
    assert (roc["x"].max(), roc["y"].max(), roc["x"].min()) == (1, 1, 0)


def test_tuned_figures_are_cross_fitted_and_stand_beside_the_default_ones(ask, results):
    ask("--rule", "mcc", *ONE)
    table = pd.read_csv(
        results / "thresholds" / "mobilenetv2-logistic_regression-video-mcc" / "threshold.csv"
    )
    assert set(table["rule"]) == {"default", "mcc"}
    tuned = table.query("rule == 'mcc'")
    assert (tuned["applied_lowest"] <= tuned["applied_highest"]).all()
    clips = clips_of(results)
    recall = table.query("rule == 'default' and metric == 'recall'")["estimate"].item()
    fakes = clips.query("label == 1")["score"]
    assert recall == pytest.approx((fakes >= 0).mean())


def test_without_names_it_is_the_best_model(ask, results):
    _, out, _ = ask("--rule", "f1")
    table = pd.concat(
        unit.estimates.assign(model=str(model)) for model, unit in read_run(results).units.items()
    )
    best = table.query("data == 'out-of-fold' and level == 'video' and rule == 'default' and metric == 'f1'")
    top = best[best["estimate"] == best["estimate"].max()]["model"].iloc[0]
    assert out.startswith("MobileNetV2") == ("mobilenetv2" in top)


def test_a_demand_that_is_finer_than_the_clips_says_so(ask):
    _, out, _ = ask("--rule", "fpr<=0.0001", "--extractor", "mobilenetv2")
    assert "even none wrong shows no more than a rate below" in out
    assert "rule of three" in out


def test_the_prior_is_that_of_a_cost_without_one(ask):
    _, with_prior, _ = ask("--rule", "cost(missed=20, rejected=1, prior=0.02)", *ONE)
    _, given, _ = ask("--rule", "cost(missed=20, rejected=1)", "--prior", "0.02", *ONE)
    assert value_in(with_prior) == value_in(given)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--rule", "yoden"), "Did you mean 'youden'"),
        (("--rule", "fpr<=2"), "Expected a share from 0 to 1"),
        (("--rule", "cost(missed=1)"), "Say what a missed and a rejected one cost"),
        (("--rule", "f1", "--level", "clip"), "Expected --level image or video"),
        (("--rule", "f1", "--prior", "1"), "Expected --prior between 0 and 1"),
        (("--rule", "f1", "--extractor", "mobilenet"), "Did you mean 'mobilenetv2'"),
        (("--rule", "f1", "--classifier", "svm"), "Expected a known classifier of this run"),
    ],
)
def test_wrong_requests_are_one_line_and_status_2(ask, words, expected):
    status, out, err = ask(*words)
    assert (status, out) == (2, "")
    assert expected in err
    assert len(err.strip().splitlines()) == 1


def test_no_results_no_answer(cli, tmp_path):
    status, _, err = cli("threshold", tmp_path, "--rule", "f1")
    assert status == 2
    assert "has no run.json" in err


def test_finished_results_are_asked_without_loading_networks(results):
    code = (
        "import sys; sys.argv = ['run_benchmark.py', 'threshold', sys.argv[1], '--rule', 'f1']\n"
        "import run_benchmark\n"
        "try:\n    run_benchmark.main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(results)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
