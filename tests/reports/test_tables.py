"""The tables; after a wanted change run these tests once with UPDATE_GOLDEN=1 set, and read the diff."""

import re
import statistics

import numpy as np
import pandas as pd
import pytest

from classify.audit import audit_folds
from classify.metrics import METRICS, OPERATING, PROBABILITY, SELECTION, baselines
from classify.protocols import Fold
from reports.errors import attacks_table, groups_table
from reports.formats import latex, markdown
from reports.robustness import robustness_table
from reports.summary import best_model, summary
from reports.tables import (
    audit_table,
    differences_table,
    main_table,
    models_table,
    operating_table,
    thresholds_table,
)

TABLES = {
    "main": main_table,
    "models": models_table,
    "operating": operating_table,
    "differences": differences_table,
    "thresholds": thresholds_table,
    "attacks": attacks_table,
    "groups": groups_table,
    "robustness": robustness_table,
    "audit": audit_table,
}
# Four digits: what is fitted, such as probabilities, may differ in the last ones from machine to machine.
WRITERS = {"md": markdown, "tex": latex, "csv": lambda table: table.frame.round(4).to_csv(index=False)}
GOLDEN = {"attacks": "errors"}  # a comparison's table has the name already


@pytest.mark.parametrize("name", list(TABLES))
@pytest.mark.parametrize("suffix", list(WRITERS))
def test_a_table_is_the_golden_one(name, suffix, make_run, check_golden):
    table = TABLES[name](make_run(perturb=["noise", "jpeg-30", "jpeg-90"] if name == "robustness" else []))
    assert table.name == name
    check_golden(f"{GOLDEN.get(name, name)}.{suffix}", WRITERS[suffix](table))


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def bold(table):
    return {(i, j) for i, row in enumerate(table.rows) for j, cell in enumerate(row) if cell.bold}


def figure_of(run, model, metric, *, level="video", data="out-of-fold", rule="default"):
    """Return the line of a figure in a unit's estimates."""
    found = run.units[model].estimates.query(
        "data == @data and level == @level and rule == @rule and metric == @metric"
    )
    assert len(found) == 1
    return found.iloc[0]


def written(line):
    figure, low, high = (f"{100 * value:.2f}" for value in (line.estimate, line.low, line.high))
    return figure if line.low == line.high else f"{figure} ({low}, {high})"


# -- figures -------------------------------------------------------------------------------------------------


def test_a_figure_is_the_estimate_with_its_interval_in_percent(make_run):
    run = make_run()
    row = cells(main_table(run))[0]
    line = figure_of(run, ("mobilenetv2", "logistic_regression"), "auc")
    assert row[:2] == ["Logistic regression", written(line)]
    assert 0 < line.low < line.estimate < line.high < 1


def test_every_fold_wise_figure_is_the_mean_and_the_deviation_of_its_folds(make_run):
    run = make_run()
    frame = summary(run)
    compared = frame[frame["metric"].isin(list(SELECTION))]
    assert frame[~frame["metric"].isin(list(SELECTION))][["mean", "deviation"]].isna().all(axis=None)
    for line in compared.itertuples():
        metrics = run.units[(line.extractor, line.classifier)].metrics
        mine = metrics[
            (metrics["data"] == line.data) & (metrics["level"] == line.level) & (metrics["rule"] == line.rule)
        ]
        folds = mine[line.metric].tolist()
        if line.rule == "default" or line.metric not in ("auc", "average_precision"):
            assert line.mean == pytest.approx(statistics.mean(folds))
        if line.data == "external":
            assert len(folds) == 1
            assert np.isnan(line.deviation)
        else:
            assert line.deviation == pytest.approx(statistics.stdev(folds))


def test_the_shown_figures_are_those_of_the_csv(make_run):
    table = main_table(make_run())
    shown = [text for row in cells(table)[:2] for text in row[1:]]
    assert sorted(shown) == sorted(written(line) for line in table.frame.itertuples())
    for make in (models_table, operating_table):
        table = make(make_run())
        first = 4 if make is models_table else 3
        shown = [text for row in cells(table)[:8] for text in row[first:]]
        expected = [METRICS[line.metric].show(line.estimate) for line in table.frame.itertuples()]
        assert sorted(shown) == sorted(expected)


@pytest.mark.parametrize(
    ("make", "metrics"), [(models_table, SELECTION), (operating_table, {**OPERATING, **PROBABILITY})]
)
def test_every_metric_of_every_model_stands_at_both_levels(make, metrics, make_run):
    run = make_run()
    table = make(run)
    place = table.header.index("Level")
    assert list(table.header[place + 1 :]) == [metric.title for metric in metrics.values()]
    models = [model for model in run.units for _ in range(2)]
    for model, row in zip(models, cells(table)[:8], strict=True):
        values = (figure_of(run, model, metric, level=row[place]).estimate for metric in metrics)
        shown = [METRICS[m].show(value) for m, value in zip(metrics, values, strict=True)]
        assert row[place + 1 :] == shown


def test_a_published_figure_stands_in_brackets_beside_ours(make_run):
    table = main_table(make_run(level="image"))
    line = figure_of(make_run(), ("mobilenetv2", "random_forest"), "auc", level="image")
    assert cells(table)[1][1] == f"{written(line)} [91.50]"
    assert sum("[" in text for row in cells(table) for text in row) == 1


def test_at_video_level_no_published_figure_stands_beside_ours(make_run):
    table = main_table(make_run())
    assert "[" not in markdown(table)
    assert "Somebody" not in markdown(table)


def test_without_published_figures_there_are_no_brackets(make_run):
    table = main_table(make_run(published=None, level="image"))
    assert "[" not in markdown(table)
    assert table.frame["published"].isna().all()


def test_the_summary_has_one_line_a_figure(make_run):
    frame = summary(make_run())
    keys = ["extractor", "classifier", "data", "level", "rule", "metric"]
    assert not frame.duplicated(keys).any()
    # four models, out-of-fold and external, two levels: every metric, and the nine of the calls at the rule
    assert len(frame) == 4 * 2 * 2 * (len(METRICS) + 9)


def test_published_figures_stand_at_image_level_and_the_default_threshold_only(make_run):
    shown = summary(make_run()).dropna(subset="published")
    assert set(shown["level"]) == {"image"}
    assert set(shown["rule"]) == {"default"}
    assert set(shown["published"]) == {91.5}


def test_the_best_of_each_metric_and_what_cannot_be_told_from_it_is_bold(make_run):
    # of recall the forest on the first extractor is told from logistic regression on the second
    everything = {(i, j) for i in range(2) for j in range(1, 5)}
    assert bold(main_table(make_run())) == everything - {(1, 2)}


def test_bold_is_about_what_the_csv_calls_equal(make_run):
    table = main_table(make_run())
    frame = table.frame.set_index(["classifier", "extractor", "metric"])
    columns = [(e, m) for e in ("mobilenetv2", "reactnet_a") for m in ("auc", "recall")]
    equal = {
        (i, j)
        for i, classifier in enumerate(("logistic_regression", "random_forest"))
        for j, column in enumerate(columns, start=1)
        if frame.loc[(classifier, *column), "equal"]
    }
    assert bold(table) == equal


def test_trivial_baselines_stand_below_the_models_and_are_never_bold(make_run):
    table = main_table(make_run())
    assert cells(table)[2:] == [
        ["Call everything fake", *2 * ["50.00", "100.00"]],
        ["Call everything real", *2 * ["50.00", "0.00"]],
        ["Guess at the base rate", *2 * ["50.00", "50.00"]],
    ]
    assert all(i < 2 for i, _ in bold(table))


def test_the_baselines_of_every_table_are_those_of_its_labels(make_run):
    run = make_run()
    labels = run.faces.drop_duplicates("clip")["label"].to_numpy()
    for table, first in ((models_table(run), 4), (operating_table(run), 3)):
        names = [METRICS[m].title for m in baselines(labels)["guess at the base rate"]]
        for row, expected in zip(cells(table)[8:], baselines(labels).values(), strict=True):
            shown = dict(zip(table.header[first:], row[first:], strict=True))
            assert {t: v for t, v in shown.items() if t in names} == {
                METRICS[m].title: METRICS[m].show(v) for m, v in expected.items() if METRICS[m].title in shown
            }
            assert {v for t, v in shown.items() if t not in names} <= {"-"}


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        ("f1", ("reactnet_a", "random_forest")),
        ("recall", ("reactnet_a", "logistic_regression")),
        ("auc", ("reactnet_a", "logistic_regression")),  # a tie: the first
    ],
)
def test_the_best_model_follows_the_selection_metric(metric, best, make_run):
    assert best_model(make_run(metric=metric)) == best


def test_classifiers_stand_in_the_suites_order(make_run):
    table = main_table(make_run(classifiers=("random_forest", "logistic_regression")))
    assert [row[0] for row in cells(table)][:2] == ["Random forest", "Logistic regression"]


def test_every_model_stands_at_both_levels_with_its_parameters(make_run):
    rows = cells(models_table(make_run()))
    assert [row[:4] for row in rows[:4]] == [
        ["MobileNetV2", "Logistic regression", "C=0.1", "image"],
        ["MobileNetV2", "Logistic regression", "C=0.1", "video"],
        ["MobileNetV2", "Random forest", "n_estimators=100, max_depth=none", "image"],
        ["MobileNetV2", "Random forest", "n_estimators=100, max_depth=none", "video"],
    ]
    assert len(rows) == 2 * 2 * 2 + 3


def test_probabilities_are_explained_where_there_are_any(make_run):
    note = "Probabilities: scores calibrated by platt on the other folds."
    assert note in operating_table(make_run()).notes
    assert note not in models_table(make_run()).notes
    plain = operating_table(make_run(calibration="none"))
    assert not any("Probabilities" in text for text in plain.notes)
    assert {tuple(row[-3:]) for row in cells(plain)[:8]} == {("-", "-", "-")}


# -- differences ---------------------------------------------------------------------------------------------


def test_every_model_stands_beside_the_best_in_each_metric_once(make_run):
    rows = cells(differences_table(make_run()))
    assert [row[0] for row in rows] == 4 * ["F1"] + 4 * ["AUC"] + 4 * ["Recall"]
    for part in (rows[:4], rows[4:8], rows[8:]):
        assert [row[3] for row in part].count("best") == 1
        assert next(row[4:] for row in part if row[3] == "best") == ["", "", ""]
    assert len(differences_table(make_run(metric="auc")).rows) == 8


def test_a_difference_is_written_in_percentage_points_with_its_interval_and_p_values(make_run):
    table = differences_table(make_run())
    assert "percentage points" in table.title
    for row, line in zip(cells(table), table.frame.itertuples(), strict=True):
        if not line.best:
            points = [100 * value for value in (line.difference, line.low, line.high)]
            assert row[3] == "{:.2f} ({:.2f}, {:.2f})".format(*points)
            for text, p in zip(row[4:], (line.p, line.p_holm, line.p_folds), strict=True):
                assert text == ("< 0.001" if p < 0.001 else f"{p:.3f}")


def test_the_best_of_each_metric_is_bold_in_the_table_of_differences(make_run):
    table = differences_table(make_run())
    bold = [row for row in table.rows if row[0].bold]
    assert [row[0].text for row in bold] == ["F1", "AUC", "Recall"]
    assert {row[3].text for row in bold} == {"best"}
    assert all(len({cell.bold for cell in row}) == 1 for row in table.rows)


def test_an_empty_cell_is_not_marked_as_bold(make_run):
    assert "****" not in markdown(differences_table(make_run()))
    assert r"\textbf{}" not in latex(differences_table(make_run()))


def test_a_difference_of_which_nothing_is_known_has_no_interval(make_run):
    table = differences_table(make_run(protocol="official"))  # three people in its test part
    assert "nan" not in markdown(table)
    assert any(re.fullmatch(r"\d+\.\d\d", row[3]) and row[4:6] == ["-", "-"] for row in cells(table))


# -- thresholds ----------------------------------------------------------------------------------------------


def test_the_thresholds_of_the_best_model_are_shown(make_run):
    run = make_run()
    unit = run.units[("reactnet_a", "random_forest")]
    folds = unit.metrics.query("level == 'video' and rule == 'f1' and data == 'out-of-fold'")["threshold"]
    chosen = figure_of(run, ("reactnet_a", "random_forest"), "threshold", rule="f1")
    assert chosen.estimate == unit.deploy["video"]["f1"]
    deploy = f"{chosen.estimate:.3f} ({chosen.low:.3f}, {chosen.high:.3f})"
    table = thresholds_table(run)
    assert table.title.startswith("Thresholds for ReActNet-A (random) with Random forest (n_estimators=100,")
    assert [row[:4] for row in cells(table)] == [
        ["out-of-fold", "default", "0.500", "0.500"],
        ["out-of-fold, cross-fitted", "max. F1", f"{folds.min():.3f} to {folds.max():.3f}", deploy],
        ["external", "default", "0.500", "0.500"],
        ["external", "max. F1", f"{chosen.estimate:.3f}", deploy],
        ["published", "", "-1.250", ""],
    ]
    assert folds.min() < folds.max()


def test_the_notes_of_thresholds_explain_cross_fitting_and_what_is_deployed(make_run):
    note = thresholds_table(make_run()).notes[0]
    assert note.startswith("Video level, %. Cross-fitted out-of-fold rows: each fold's threshold is chosen")
    assert note.endswith(
        "To deploy: chosen on all out-of-fold scores, with the interval of choosing it again in each replicate; this "
        "one is applied to external data."
    )


def test_every_figure_at_a_threshold_has_its_interval(make_run):
    rows = cells(thresholds_table(make_run()))
    assert all(
        re.fullmatch(r"\d+\.\d\d \(\d+\.\d\d, \d+\.\d\d\)", text) for row in rows[:4] for text in row[4:]
    )


def test_a_published_threshold_leaves_out_what_the_paper_does(make_run):
    assert cells(thresholds_table(make_run()))[-1][4:] == ["90.00", "", "", "88.12"]


def test_the_csv_of_thresholds_has_every_model(make_run):
    frame = thresholds_table(make_run()).frame
    assert len(frame) == 2 * 2 * 2 * 2 * 2
    columns = {"applied_lowest", "applied_highest", "deploy", "deploy_low", "deploy_high"}
    assert columns | {"f1", "f1_low", "f1_high"} <= set(frame)


def test_a_rule_that_cannot_be_met_is_shown_with_what_was_reachable(make_run):
    settings = {
        "extractors": {"mobilenetv2": ("MobileNetV2", "hub")},
        "classifiers": ("logistic_regression",),
    }
    run = make_run(thresholds=["recall>=1", "f1"], **settings)
    unit = run.units[("mobilenetv2", "logistic_regression")]
    table = thresholds_table(run)
    (message,) = unit.unreachable["video"].values()
    title = "recall at least 1"
    assert f"{title}: not reachable. {message}" in table.notes
    rows = {(row[0], row[1]): row[2:] for row in cells(table)}
    assert rows[("external", title)] == 6 * ["-"]
    assert rows[("external", "max. F1")][0] != "-"


# -- audit ---------------------------------------------------------------------------------------------------


def test_the_audit_made_by_hand_is_that_of_its_faces(make_run):
    run, rows = make_run(), np.arange(36)
    tested = [run.faces["fold"].to_numpy() == number for number in range(4)]
    folds = [Fold(rows[~test], rows[test]) for test in tested]
    hashes = (
        np.random.default_rng(0).integers(0, 2, (36, 64)).astype(np.float32)
    )  # half of the bits apart: far
    hashes[4::12] = hashes[::12]
    audit = audit_folds(run.faces, {"target": folds}, bits=hashes)
    pd.testing.assert_frame_equal(audit, run.audit, check_dtype=False)


def test_a_line_of_the_audit_says_what_a_fold_shares(make_run):
    table = audit_table(make_run())
    line = ["target", "1", "9 + 9 (50 %)", "3 + 3 (50 %)", "0", "0", "0 of 3", "3 of 6", "100 %", "25 %"]
    assert cells(table)[0] == line
    assert [row[1] for row in cells(table)] == ["1", "2", "3", "4"]


def test_every_column_of_the_audit_stands_under_its_heading(make_run):
    run = make_run()
    run.audit["shared_clips"], run.audit["sat_out_clips"] = 1234, 5678
    run.audit[["test_identities", "test_people", "test_faces", "sources"]] = [60, 70, 80, 50]
    run.audit[["shared_identities", "shared_people"]] = [6, 7]
    table = audit_table(run)
    assert dict(zip(table.header, cells(table)[1], strict=True)) == {
        **{"Protocol": "target", "Fold": "2", "Train real+fake": "9 + 9 (50 %)"},
        **{"Test real+fake": "3 + 3 (50 %)"},
        **{"Sat out": "5,678", "Shared clips": "1,234", "Shared identities": "6 of 60"},
        **{"Shared people": "7 of 70", "Shared sources": "6 %", "Near-duplicates": "0 %"},
    }


def test_a_share_of_nothing_is_a_dash(make_run):
    run = make_run()
    # no fake of the last fold has a known source
    assert [row[8] for row in cells(audit_table(run))] == ["100 %", "100 %", "0 %", "-"]
    assert [row[9] for row in cells(audit_table(run))] == ["25 %", "0 %", "50 %", "0 %"]
    run.audit["near_duplicates"] = np.nan  # nothing was hashed
    assert {row[9] for row in cells(audit_table(run))} == {"-"}


def test_the_audit_names_what_its_protocol_promises(make_run):
    notes = audit_table(make_run(protocol="component")).notes
    assert notes[0] == "Protocol component: no person, shown or put in, is on both sides."


def test_the_csv_of_the_audit_is_the_audit(make_run):
    run = make_run()
    pd.testing.assert_frame_equal(audit_table(run).frame, run.audit)
