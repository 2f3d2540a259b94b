"""Perturbed clips, judged by what was chosen on clips as they are."""

import numpy as np
import pytest

from reports.robustness import CURVES, deployed_rule, plot_robustness, robustness_frame, robustness_table
from reports.tables import show_estimate

BEST = ("reactnet_a", "random_forest")
SEVERAL = ["noise-20", "jpeg-30", "noise-5", "jpeg-90"]


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_without_perturbations_there_is_no_table(make_run):
    assert robustness_table(make_run()) is None


def test_clips_as_they_are_come_first_then_families_from_weak_to_strong(make_run):
    run = make_run(perturb=SEVERAL)
    names = ["none", "jpeg-90", "jpeg-30", "noise-5", "noise-20"]
    assert list(robustness_frame(run)["perturbation"].unique()) == names
    titles = ["none", "JPEG quality 90", "JPEG quality 30", "noise, sigma 5", "noise, sigma 20"]
    assert [row[0] for row in cells(robustness_table(run))] == titles


def test_a_family_stands_for_all_its_strengths(make_run):
    titles = [row[0] for row in cells(robustness_table(make_run(perturb=["noise"])))]
    assert titles == ["none", "noise, sigma 5", "noise, sigma 10", "noise, sigma 20"]


@pytest.mark.parametrize("level", ["image", "video"])
@pytest.mark.parametrize(("protocol", "clean"), [("target", "out-of-fold"), ("official", "test")])
def test_figures_are_those_of_the_perturbed_rows_at_the_deployed_rule(level, protocol, clean, make_run):
    run = make_run(perturb=SEVERAL, level=level, protocol=protocol)
    lines = run.units[BEST].estimates.query("level == @level").set_index(["data", "rule", "metric"])
    for row, data in zip(
        cells(robustness_table(run)), [clean, "jpeg-90", "jpeg-30", "noise-5", "noise-20"], strict=True
    ):
        figures = [show_estimate(m, lines.loc[(data, "default" if m == "auc" else "f1", m)]) for m in CURVES]
        assert row[1:4] == figures


def test_the_deployed_rule_is_the_first_that_can_be_met(make_run):
    assert deployed_rule(make_run(thresholds=["eer", "f1"])) == "eer"
    assert deployed_rule(make_run(thresholds=[])) == "default"
    run = make_run(thresholds=["eer", "f1"])
    run.units[BEST].deploy["video"] = {"eer": None, "f1": 0.5}
    assert deployed_rule(run) == "f1"
    run.units[BEST].deploy["video"] = {"eer": None, "f1": None}
    assert deployed_rule(run) == "default"


def test_the_notes_name_the_deployed_rule(make_run):
    note = robustness_table(make_run(perturb=["noise-5"], thresholds=["eer", "f1"])).notes[0]
    assert "at the threshold by equal error rate" in note


def test_clips_without_a_face_are_counted_under_every_perturbation(make_run):
    rows = cells(robustness_table(make_run(perturb=SEVERAL)))
    # of thirteen each: as they are one and one gave none; jpeg-30 takes two fakes more, noise-20 one
    assert [row[4:] for row in rows] == [
        ["7.69", "7.69"],
        ["7.69", "7.69"],
        ["23.08", "15.38"],
        ["7.69", "7.69"],
        ["15.38", "15.38"],
    ]


def test_perturbations_without_figures_are_named(make_run):
    table = robustness_table(make_run(perturb=["jpeg-0", "noise-20", "h264-40"]))
    assert [row[0] for row in cells(table)] == ["none", "noise, sigma 20"]
    assert (
        "Without figures, as too few clips were left or it applies to none: jpeg-0, h264-40." in table.notes
    )
    assert not any("Without figures" in n for n in robustness_table(make_run(perturb=["noise-20"])).notes)


def test_the_frame_has_every_model(make_run):
    frame = robustness_frame(make_run(perturb=SEVERAL))
    assert len(frame) == 4 * 5 * len(CURVES)
    assert not frame.duplicated(["extractor", "classifier", "perturbation", "metric"]).any()
    assert set(frame["level"]) == {"video"}
    assert {"estimate", "low", "high", "people", "family", "strength", "apnrr", "bpnrr"} <= set(frame)


# -- the picture ---------------------------------------------------------------------------------------------


def test_the_picture_draws_exactly_its_frame(make_run):
    run = make_run(perturb=SEVERAL)
    frame = robustness_frame(run)
    figure = plot_robustness(frame, run)
    mine = frame[(frame["extractor"] == BEST[0]) & (frame["classifier"] == BEST[1])]
    families = {
        "JPEG quality": ["none", "jpeg-90", "jpeg-30"],
        "noise, sigma": ["none", "noise-5", "noise-20"],
    }
    assert [axes.get_title() for axes in figure.axes] == list(families)
    for axes, names in zip(figure.axes, families.values(), strict=True):
        assert [t.get_text() for t in axes.get_xticklabels()] == [n.split("-")[-1] for n in names]
        for metric, container in zip(CURVES, axes.containers, strict=True):
            line = mine[mine["metric"] == metric].set_index("perturbation").loc[names]
            np.testing.assert_array_equal(container.lines[0].get_ydata(), line["estimate"])
            ends = np.array([segment[:, 1] for segment in container.lines[2][0].get_segments()])
            np.testing.assert_allclose(ends, line[["low", "high"]])


@pytest.mark.parametrize(
    "perturb",
    [["noise-20"], SEVERAL, pytest.param("all", marks=pytest.mark.slow), ["jpeg-0"]],
    ids=["one", "four", "all", "none"],
)
@pytest.mark.parametrize("protocol", ["target", "frame", "official"])
def test_nothing_of_the_picture_is_cut_off(perturb, protocol, make_run, check_whole):
    run = make_run(perturb=[perturb] if perturb == "all" else perturb, protocol=protocol)
    check_whole(plot_robustness(robustness_frame(run), run))


def test_the_title_marks_random_weights_and_leaky_protocols(make_run):
    run = make_run(perturb=["noise-20"], protocol="clip")
    title = plot_robustness(robustness_frame(run), run)._suptitle.get_text()
    assert "ReActNet-A (random) with Random forest, video level" in title
    assert "(LEAKY protocol: clip)" in title
