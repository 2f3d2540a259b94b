"""The tables; after a wanted change run these tests once with UPDATE_GOLDEN=1 set, and read the diff."""

import statistics

import numpy as np
import pandas as pd
import pytest

from classify.audit import audit_folds
from classify.protocols import Fold
from reports.formats import latex, markdown
from reports.tables import audit_table, best_model, main_table, models_table, summary, thresholds_table

TABLES = {
    "main": main_table,
    "models": models_table,
    "thresholds": thresholds_table,
    "audit": audit_table,
}
WRITERS = {"md": markdown, "tex": latex, "csv": lambda table: table.frame.to_csv(index=False)}


@pytest.mark.parametrize("name", list(TABLES))
@pytest.mark.parametrize("suffix", list(WRITERS))
def test_a_table_is_the_golden_one(name, suffix, make_run, check_golden):
    table = TABLES[name](make_run())
    assert table.name == name
    check_golden(f"{name}.{suffix}", WRITERS[suffix](table))


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def bold(table):
    return {(i, j) for i, row in enumerate(table.rows) for j, cell in enumerate(row) if cell.bold}


# -- figures -------------------------------------------------------------------------------------------------


def test_a_figure_is_mean_and_sample_deviation_in_percent(make_run):
    # logistic regression on mobilenetv2, AUC: 170, 173, 176, 179 of 256
    assert cells(main_table(make_run()))[0][:2] == ["Logistic regression", "68.16 ± 1.51"]


def test_every_figure_is_the_mean_and_the_deviation_of_its_folds(make_run):
    run = make_run()
    for line in summary(run).itertuples():
        metrics = run.units[(line.extractor, line.classifier)].metrics
        mine = metrics[
            (metrics["data"] == line.data) & (metrics["level"] == line.level) & (metrics["rule"] == line.rule)
        ]
        folds = mine[line.metric].tolist()
        assert line.mean == pytest.approx(statistics.mean(folds))
        if line.data == "external":
            assert len(folds) == 1
            assert np.isnan(line.deviation)
        else:
            assert line.deviation == pytest.approx(statistics.stdev(folds))


def test_the_shown_figures_are_those_of_the_csv(make_run):
    for table in (main_table(make_run(published=None)), models_table(make_run())):
        shown = [text for row in cells(table) for text in row if "±" in text]
        pairs = zip(table.frame["mean"], table.frame["deviation"], strict=True)
        assert sorted(shown) == sorted(f"{100 * mean:.2f} ± {100 * dev:.2f}" for mean, dev in pairs)


def test_a_published_figure_stands_in_brackets_beside_ours(make_run):
    assert cells(main_table(make_run()))[1][1] == "70.12 ± 1.51 [91.50]"
    assert sum("[" in text for row in cells(main_table(make_run())) for text in row) == 1


def test_without_published_figures_there_are_no_brackets(make_run):
    table = main_table(make_run(published=None))
    assert "[" not in markdown(table)
    assert table.frame["published"].isna().all()


def test_the_summary_has_one_line_a_figure(make_run):
    frame = summary(make_run())
    keys = ["extractor", "classifier", "data", "level", "rule", "metric"]
    assert not frame.duplicated(keys).any()
    assert len(frame) == 2 * 2 * 2 * 2 * 2 * 5


def test_published_figures_stand_at_image_level_and_the_default_threshold_only(make_run):
    shown = summary(make_run()).dropna(subset="published")
    assert set(shown["level"]) == {"image"}
    assert set(shown["rule"]) == {"default"}
    assert set(shown["published"]) == {91.5}


def test_the_best_of_each_column_is_bold(make_run):
    # the forest is best by AUC, logistic regression by recall; the second extractor's AUC is a tie
    assert bold(main_table(make_run())) == {(1, 1), (0, 2), (0, 3), (1, 3), (0, 4)}


def test_bold_is_about_the_number_not_its_two_digits(make_run):
    run = make_run()
    metrics = run.units[("reactnet_a", "random_forest")].metrics
    metrics["auc"] += 1e-7
    assert {(i, j) for i, j in bold(main_table(run)) if j == 3} == {(1, 3)}


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
    assert [row[0] for row in cells(table)] == ["Random forest", "Logistic regression"]


def test_every_model_stands_at_both_levels_with_its_parameters(make_run):
    rows = cells(models_table(make_run()))
    assert [row[:4] for row in rows[:4]] == [
        ["MobileNetV2", "Logistic regression", "C=0.1", "image"],
        ["MobileNetV2", "Logistic regression", "C=0.1", "video"],
        ["MobileNetV2", "Random forest", "n_estimators=100, max_depth=none", "image"],
        ["MobileNetV2", "Random forest", "n_estimators=100, max_depth=none", "video"],
    ]
    assert len(rows) == 2 * 2 * 2


def test_the_thresholds_of_the_best_model_are_shown(make_run):
    table = thresholds_table(make_run())
    assert table.title.startswith("Thresholds for ReActNet-A (random) with Random forest (n_estimators=100,")
    assert [row[:4] for row in cells(table)] == [
        ["out-of-fold", "default", "0.500", "0.500"],
        ["out-of-fold, cross-fitted", "max. F1", "0.375 to 0.562", "0.375"],
        ["external", "default", "0.500", "0.500"],
        ["external", "max. F1", "0.375", "0.375"],
        ["published", "", "-1.250", ""],
    ]


def test_the_notes_of_thresholds_explain_cross_fitting_and_what_is_deployed(make_run):
    note = thresholds_table(make_run()).notes[0]
    assert note.startswith("Image level, %. Cross-fitted out-of-fold rows: each fold's threshold is chosen")
    assert note.endswith("To deploy: chosen on all out-of-fold scores; this one is applied to external data.")


def test_external_figures_have_no_deviation(make_run):
    rows = cells(thresholds_table(make_run()))
    assert all("±" in text for text in rows[0][4:])
    assert not any("±" in text for text in rows[2][4:])


def test_a_published_threshold_leaves_out_what_the_paper_does(make_run):
    assert cells(thresholds_table(make_run()))[-1][4:] == ["90.00", "", "", "88.12"]


def test_the_csv_of_thresholds_has_every_model(make_run):
    frame = thresholds_table(make_run()).frame
    assert len(frame) == 2 * 2 * 2 * 2 * 2
    assert {"applied_lowest", "applied_highest", "deploy", "f1", "f1_deviation"} <= set(frame)


# -- audit ---------------------------------------------------------------------------------------------------


def test_the_audit_made_by_hand_is_that_of_its_faces(make_run):
    run, rows = make_run(), np.arange(12)
    tested = [run.faces["fold"].to_numpy() == number for number in range(4)]
    folds = [Fold(rows[~test], rows[test]) for test in tested]
    hashes = np.repeat(np.eye(12, dtype=np.float32), 2, axis=1)  # four bits of 24 apart: far
    hashes[4] = hashes[0]
    audit = audit_folds(run.faces, {"target": folds}, bits=hashes)
    pd.testing.assert_frame_equal(audit, run.audit, check_dtype=False)


def test_a_line_of_the_audit_says_what_a_fold_shares(make_run):
    table = audit_table(make_run())
    line = ["target", "1", "3 + 3 (50 %)", "1 + 1 (50 %)", "0", "0", "0 of 1", "1 of 2", "100 %", "25 %"]
    assert cells(table)[0] == line
    assert [row[1] for row in cells(table)] == ["1", "2", "3", "4"]


def test_every_column_of_the_audit_stands_under_its_heading(make_run):
    run = make_run()
    run.audit["shared_clips"], run.audit["sat_out_clips"] = 1234, 5678
    run.audit[["test_identities", "test_people", "test_faces", "sources"]] = [60, 70, 80, 50]
    run.audit[["shared_identities", "shared_people"]] = [6, 7]
    table = audit_table(run)
    assert dict(zip(table.header, cells(table)[1], strict=True)) == {
        **{"Protocol": "target", "Fold": "2", "Train real+fake": "3 + 3 (50 %)"},
        **{"Test real+fake": "1 + 1 (50 %)"},
        **{"Sat out": "5,678", "Shared clips": "1,234", "Shared identities": "6 of 60"},
        **{"Shared people": "7 of 70", "Shared sources": "2 %", "Near-duplicates": "0 %"},
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
