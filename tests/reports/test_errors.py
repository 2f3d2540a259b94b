"""Whom the best model gets wrong."""

from dataclasses import replace

import pytest

from reports.errors import attacks_table, errors_frame, groups_table
from reports.formats import markdown
from reports.tables import show_estimate

BEST = ("reactnet_a", "random_forest")


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def errors_of(run, *, column="attack", data="out-of-fold", level="video"):
    mine = run.units[BEST].errors.query("data == @data and level == @level and column == @column")
    return mine.set_index(["value", "rule"])


# -- by attack -----------------------------------------------------------------------------------------------


def test_every_attack_has_a_line_and_every_rule_a_column(make_run):
    run = make_run(thresholds=["f1", "eer"])
    table, errors = attacks_table(run), errors_of(run)
    assert table.header == ("Attack", "Clips", "No response", "default", "max. F1", "equal error rate")
    rates = {"Deepfakes": ("8", "11.11"), "NeuralTextures": ("4", "0.00")}  # one of nine gave no face
    for row, (attack, (count, rate)) in zip(cells(table), rates.items(), strict=False):
        figures = [
            show_estimate("apcer", errors.loc[(attack, r)], prefix="apcer") for r in ("default", "f1", "eer")
        ]
        assert row == [attack, count, rate, *figures]


def test_the_worst_apcer_and_the_bpcer_stand_below_in_bold(make_run):
    run = make_run()
    table = attacks_table(run)
    estimates = run.units[BEST].estimates.query("data == 'out-of-fold' and level == 'video'")
    estimates = estimates.set_index(["metric", "rule"])
    for row, metric, title, clips in (
        (table.rows[-2], "apcer", "All: worst APCER, APNRR", "12"),
        (table.rows[-1], "bpcer", "Genuine: BPCER, BPNRR", "12"),
    ):
        assert [cell.text for cell in row[:3]] == [title, clips, "7.69"]  # one of thirteen gave no face
        shown = [show_estimate(metric, estimates.loc[(metric, rule)]) for rule in ("default", "f1")]
        assert [cell.text for cell in row[3:]] == shown
        assert all(cell.bold for cell in row[3:])
    by_attack = errors_of(run).xs("default", level="rule")["apcer"]
    assert estimates.loc[("apcer", "default"), "estimate"] == pytest.approx(by_attack.max())


def test_at_image_level_faces_are_counted(make_run):
    table = attacks_table(make_run(level="image"))
    assert table.header[1] == "Faces"
    assert [row[1] for row in cells(table)] == ["12", "6", "18", "18"]
    assert "APCER: share of attack faces called real" in table.notes[0]


def test_fakes_of_no_named_attack_have_a_line_with_their_own_rate(make_run):
    run = make_run()
    for model, unit in run.units.items():
        unit.errors["value"] = unit.errors["value"].replace("NeuralTextures", "")
        fakes = (unit.errors["column"] == "attack") & (unit.errors["value"] == "")
        genuine = unit.errors.index[fakes & (unit.errors["fakes"] == 0)]
        run.units[model] = replace(unit, errors=unit.errors.drop(genuine))
    files = run.files.assign(attack=run.files["attack"].replace("NeuralTextures", ""))
    row = next(row for row in cells(attacks_table(replace(run, files=files))) if row[0] == "(no name)")
    assert row[1:3] == ["4", "0.00"]


def test_the_csv_has_every_model_with_the_rates_of_its_data(make_run):
    frame = attacks_table(make_run(perturb=["noise-20"])).frame
    assert set(frame["column"]) == {"attack"}
    assert len(frame[["extractor", "classifier"]].drop_duplicates()) == 4
    rates = frame.set_index(["data", "value"])[["apnrr", "bpnrr"]].sort_index()
    assert set(rates.loc[("out-of-fold", "Deepfakes"), "apnrr"].round(4)) == {0.1111}  # one of nine
    assert set(rates.loc[("noise-20", "Deepfakes"), "apnrr"].round(4)) == {0.2222}  # two of nine
    assert set(rates.loc[("external", "Deepfakes"), "apnrr"]) == {0}
    assert set(rates.loc[("out-of-fold", ""), "bpnrr"].round(4)) == {0.0769}
    assert set(rates.loc[("noise-20", ""), "bpnrr"].round(4)) == {0.1538}
    assert rates.loc[("out-of-fold", ""), "apnrr"].isna().all()


def test_one_validation_part_leaves_the_test_parts_tuned_columns(make_run):
    assert attacks_table(make_run(protocol="official")).header[-1] == "max. F1"
    assert (
        "Tuned thresholds were chosen inside the training part."
        in attacks_table(make_run(protocol="official")).notes
    )


# -- by further columns --------------------------------------------------------------------------------------


def test_every_value_of_a_further_column_has_a_line_at_each_threshold(make_run):
    run = make_run()
    errors, rows = errors_of(run, column="device"), cells(groups_table(run))
    for row, (rule, title, value, count) in zip(
        rows,
        [
            ("default", "default", "phone", "4"),
            ("default", "default", "webcam", "8"),
            ("f1", "max. F1", "phone", "4"),
            ("f1", "max. F1", "webcam", "8"),
        ],
        strict=True,
    ):
        line = errors.loc[(value, rule)]
        apcer, bpcer = (show_estimate(m, line, prefix=m) for m in ("apcer", "bpcer"))
        assert row == [title, "device", value, count, apcer, count, bpcer]


def test_without_further_columns_there_is_no_table_of_groups(make_run):
    assert groups_table(make_run(columns=())) is None


def test_the_csv_of_groups_has_every_model_and_no_attack(make_run):
    frame = groups_table(make_run()).frame
    assert set(frame["column"]) == {"device"}
    assert len(frame[["extractor", "classifier"]].drop_duplicates()) == 4
    assert len(errors_frame(make_run())) == len(frame) + len(attacks_table(make_run()).frame)


def test_a_group_without_a_value_is_shown_as_empty(make_run):
    run = make_run()
    for unit in run.units.values():
        unit.errors["value"] = unit.errors["value"].replace("phone", "")
    assert "| device | (empty) |" in markdown(groups_table(run))
