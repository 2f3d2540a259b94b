import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from reports.plots import plot_roc, plot_thresholds, roc_frame, save, scored_rows, threshold_frame


def lines_of(figure):
    """Return the drawn lines by label."""
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def legend_of(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def out_of_fold(run, extractor, classifier="random_forest"):
    return scored_rows(run, (extractor, classifier), data="out-of-fold")


# -- ROC -----------------------------------------------------------------------------------------------------


def test_there_is_one_curve_an_extractor_with_its_best_classifier(make_run):
    frame = roc_frame(make_run())
    assert list(frame) == ["protocol", "extractor", "model", "fpr", "tpr"]
    titles = [model.rpartition(":")[0] for model in frame["model"].unique()]
    assert titles == ["MobileNetV2, Logistic regression", "ReActNet-A (random), Random forest"]


def test_a_curve_is_that_of_the_out_of_fold_scores(make_run):
    run = make_run()
    scored = out_of_fold(run, "mobilenetv2", "logistic_regression")
    for curve in (part for model, part in roc_frame(run).groupby("model") if model.startswith("Mobile")):
        area = np.trapezoid(curve["tpr"], curve["fpr"])
        assert area == pytest.approx(roc_auc_score(scored["label"], scored["score"]))
        assert curve["model"].iloc[0].endswith(f"AUC {area:.3f}")
        assert (curve["fpr"].iloc[0], curve["tpr"].iloc[0]) == (0, 0)
        assert (curve["fpr"].iloc[-1], curve["tpr"].iloc[-1]) == (1, 1)


def test_the_roc_picture_draws_exactly_its_frame(make_run):
    run = make_run()
    frame = roc_frame(run)
    lines = lines_of(plot_roc(frame, run))
    assert list(lines) == [*frame["model"].unique(), "chance"]
    for model, curve in frame.groupby("model"):
        np.testing.assert_array_equal(lines[model].get_xdata(), curve["fpr"])
        np.testing.assert_array_equal(lines[model].get_ydata(), curve["tpr"])


def test_random_weights_are_marked_in_the_legend(make_run):
    run = make_run()
    legend = legend_of(plot_roc(roc_frame(run), run))
    assert sum("(random)" in text for text in legend) == 1
    assert any(text.startswith("ReActNet-A (random)") for text in legend)


# -- thresholds ----------------------------------------------------------------------------------------------


def test_the_threshold_frame_has_every_cut_of_the_best_model(make_run):
    run = make_run()
    scored = out_of_fold(run, "reactnet_a")
    frame = threshold_frame(run)
    model = ["protocol", "extractor", "weights", "classifier"]
    assert list(frame) == [*model, "threshold", "f1", "recall", "fpr"]
    assert set(frame["weights"]) == {"random"}
    assert len(frame) == len(set(scored["score"])) + 1
    for cut in frame.itertuples():
        called = scored["score"] >= cut.threshold
        assert cut.recall == called[scored["label"] == 1].mean()
        assert cut.fpr == called[scored["label"] == 0].mean()


def test_the_threshold_picture_draws_exactly_its_frame(make_run):
    run = make_run()
    frame = threshold_frame(run)
    lines = lines_of(plot_thresholds(frame, run))
    for label, column in (("F1", "f1"), ("recall", "recall"), ("false-positive rate", "fpr")):
        np.testing.assert_array_equal(lines[label].get_xdata(), frame["threshold"])
        np.testing.assert_array_equal(lines[label].get_ydata(), frame[column])
        assert lines[label].get_drawstyle() == "steps-pre"


def test_default_and_deployed_thresholds_are_marked(make_run):
    run = make_run()
    lines = lines_of(plot_thresholds(threshold_frame(run), run))
    tuned = run.units[("reactnet_a", "random_forest")].deploy["video"]["f1"]
    marks = {label: line.get_xdata()[0] for label, line in lines.items() if ":" in label}
    assert marks == {"default: 0.500": np.nextafter(0.5, 1), f"max. F1: {tuned:.3f}": tuned}


def test_the_threshold_pictures_title_marks_random_weights(make_run):
    run = make_run()
    title = plot_thresholds(threshold_frame(run), run).axes[0].get_title()
    assert title == "ReActNet-A (random) with Random forest, out-of-fold clips"


def test_at_image_level_the_pictures_are_about_faces(make_run):
    run = make_run(level="image")
    scored = out_of_fold(run, "reactnet_a")
    assert len(scored) == 36
    assert len(threshold_frame(run)) == len(set(scored["score"])) + 1
    assert plot_roc(roc_frame(run), run).axes[0].get_title().endswith(", out-of-fold faces")


# -- both ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["roc", "thresholds"])
def draw(request):
    """Draw one of the pictures of a run."""
    frame, plot = {"roc": (roc_frame, plot_roc), "thresholds": (threshold_frame, plot_thresholds)}[
        request.param
    ]
    return lambda run: plot(frame(run), run)


@pytest.mark.parametrize(
    ("protocol", "end"),
    [
        ("target", ", out-of-fold clips"),
        ("frame", ", out-of-fold clips\n(LEAKY protocol: frame)"),
        ("clip", ", out-of-fold clips\n(LEAKY protocol: clip)"),
    ],
)
def test_the_titles_of_leaky_protocols_are_marked_on_a_line_of_their_own(protocol, end, draw, make_run):
    assert draw(make_run(protocol=protocol)).axes[0].get_title().endswith(end)


@pytest.mark.parametrize("protocol", ["component", "frame", "official"])
def test_nothing_of_a_picture_is_cut_off(protocol, draw, make_run, check_whole):
    check_whole(draw(make_run(protocol=protocol)))


# -- files ---------------------------------------------------------------------------------------------------


def test_a_figure_is_saved_as_png_and_svg_and_nothing_else(make_run, tmp_path):
    run = make_run()
    save(plot_roc(roc_frame(run), run), tmp_path / "figures" / "roc")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["roc.png", "roc.svg"]
    assert (tmp_path / "figures" / "roc.png").read_bytes().startswith(b"\x89PNG")
    assert "ReActNet-A (random)" in (tmp_path / "figures" / "roc.svg").read_text(encoding="utf-8")


def test_the_same_figure_is_saved_with_the_same_bytes(make_run, tmp_path):
    for folder in ("once", "again"):
        run = make_run()
        save(plot_thresholds(threshold_frame(run), run), tmp_path / folder / "thresholds")
    for name in ("thresholds.png", "thresholds.svg"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_another_figure_has_other_bytes(make_run, tmp_path):
    run = make_run()
    frame = roc_frame(run)
    moved = frame.assign(tpr=frame["tpr"] / 2)
    for name, each in (("a", frame), ("b", moved)):
        save(plot_roc(each, run), tmp_path / name / "roc")
    assert (tmp_path / "a" / "roc.svg").read_bytes() != (tmp_path / "b" / "roc.svg").read_bytes()
