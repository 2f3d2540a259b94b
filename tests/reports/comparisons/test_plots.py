"""The pictures of comparisons draw exactly the frames that lie beside them."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text

from benchmarks.compare import COMPARISONS
from classify.comparisons import STEPS, training_sets
from reports.comparison_plots import PLOTS, comparison_plot, plot_transfer
from reports.comparisons import comparison_table

TITLES = {
    ("mobilenetv2", "logistic_regression"): "MobileNetV2, Logistic regression",
    ("mobilenetv2", "random_forest"): "MobileNetV2, Random forest",
    ("reactnet_a", "logistic_regression"): "ReActNet-A (random), Logistic regression",
    ("reactnet_a", "random_forest"): "ReActNet-A (random), Random forest",
}
EXTRACTORS = ("inception_v4", "mobilenetv2", "reactnet_a", "convnext_tiny", "deit_small")
CLASSIFIERS = ("logistic_regression", "svc", "random_forest", "xgboost")
FACEFORENSICS = [
    "DeepFakeDetection",
    "Deepfakes",
    "Face2Face",
    "FaceShifter",
    "FaceSwap",
    "NeuralTextures",
]
every_comparison = pytest.mark.parametrize("name", list(COMPARISONS))
transfers = pytest.mark.parametrize("name", ["attacks", "datasets"])


def models(frame):
    """Return title and lines of each model, in the order of the frame."""
    return [(TITLES[key], part) for key, part in frame.groupby(["extractor", "classifier"], sort=False)]


def curves_of(axes):
    """Return x, y and half-lengths of the error bars of each labelled curve: [(label, x, y, deviations)]."""
    curves = []
    for container in axes.containers:
        line, _, (bars,) = container
        lengths = [np.ptp(segment[:, 1]) / 2 for segment in bars.get_segments()]
        for segment, place in zip(bars.get_segments(), line.get_xdata(), strict=True):
            assert set(segment[:, 0]) == {place}
        curves.append((container.get_label(), line.get_xdata(), line.get_ydata(), lengths))
    return curves


def ticks_of(axis):
    return dict(zip([t.get_text() for t in axis.get_ticklabels()], axis.get_ticklocs(), strict=True))


# -- every comparison ----------------------------------------------------------------------------------------


def test_every_comparison_has_a_picture():
    assert set(PLOTS) == set(COMPARISONS)


@every_comparison
def test_the_frame_of_a_picture_is_that_of_the_table_at_image_level(name, make_comparison):
    comparison = make_comparison(name)
    drawn, _ = comparison_plot(comparison)
    frame = comparison_table(comparison).frame
    assert drawn.equals(frame[frame["level"] == "image"].reset_index(drop=True))


@every_comparison
def test_random_weights_are_marked_in_every_picture(name, make_comparison):
    _, figure = comparison_plot(make_comparison(name))
    texts = [text.get_text() for text in figure.findobj(Text) if "ReActNet-A" in text.get_text()]
    assert texts
    assert all("ReActNet-A (random)" in text for text in texts)


@every_comparison
def test_a_picture_has_the_title_of_its_comparison(name, make_comparison):
    _, figure = comparison_plot(make_comparison(name))
    assert figure.get_suptitle() == COMPARISONS[name].title


@every_comparison
def test_nothing_of_a_picture_is_cut_off(name, make_comparison, make_one, check_whole):
    for make in (make_comparison, make_one):
        check_whole(comparison_plot(make(name))[1])


# -- leakage -------------------------------------------------------------------------------------------------


def test_the_leakage_picture_draws_exactly_its_frame(make_comparison):
    frame, figure = comparison_plot(make_comparison("leakage"))
    for axes, metric in zip(figure.axes, ("auc", "accuracy"), strict=True):
        assert axes.get_ylabel().lower() == metric
        ticks = ticks_of(axes.xaxis)
        assert ticks == {"frame": 0, "clip": 1, "target": 2, "strict": 3}
        for (label, x, y, deviations), (title, part) in zip(curves_of(axes), models(frame), strict=True):
            assert label == title
            assert tuple(part["protocol"]) == STEPS
            assert list(np.round(x)) == [ticks[protocol] for protocol in part["protocol"]]
            np.testing.assert_array_equal(y, part[metric])
            np.testing.assert_allclose(deviations, part[f"{metric}_deviation"])


def test_the_published_accuracies_are_drawn_beside_ours(make_comparison):
    _, figure = comparison_plot(make_comparison("leakage"))
    of = [{line.get_label(): line for line in axes.get_lines()} for axes in figure.axes]
    published = [label for label in of[1] if label.startswith("published")]
    assert len(published) == 1
    assert of[1][published[0]].get_ydata() == pytest.approx([0.814, 0.6145])
    assert list(of[1][published[0]].get_xdata()) == [STEPS.index("frame"), STEPS.index("clip")] == [0, 1]
    assert not any(label.startswith("published") for label in of[0])


def test_the_leakage_picture_says_which_protocols_leak(make_comparison):
    _, figure = comparison_plot(make_comparison("leakage"))
    assert {axes.get_xlabel() for axes in figure.axes} == {"protocol (frame and clip leak)"}


def test_one_repeat_is_drawn_without_bars(make_comparison):
    comparison = make_comparison("leakage")
    trials = comparison.trials.query("repeat == 0")
    frame, figure = comparison_plot(replace(comparison, trials=trials))
    lines, bars = zip(*[(line, bars) for line, _, (bars,) in figure.axes[0].containers], strict=True)
    assert [y for line in lines for y in line.get_ydata()] == frame["auc"].tolist()
    assert not any(len(segment) for each in bars for segment in each.get_segments())


@pytest.mark.slow
def test_the_models_of_the_demo_suite_are_told_apart(make_comparison):
    extractors = {name: (name, "package") for name in EXTRACTORS}
    comparison = make_comparison("leakage", extractors=extractors, classifiers=CLASSIFIERS)
    _, figure = comparison_plot(comparison)
    lines = [container[0] for container in figure.axes[0].containers]
    looks = {(to_hex(line.get_color()), line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(lines) == len(looks) == 20
    told = list(product(EXTRACTORS, CLASSIFIERS))  # the colour is the extractor, the rest is the classifier
    colours = {(e, to_hex(line.get_color())) for (e, _), line in zip(told, lines, strict=True)}
    rest = {(c, line.get_marker(), line.get_linestyle()) for (_, c), line in zip(told, lines, strict=True)}
    assert len(colours) == len({colour for _, colour in colours}) == 5
    assert len(rest) == len({marker for _, marker, _ in rest}) == len({line for *_, line in rest}) == 4


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_bars_of_the_models_stand_side_by_side_nearest_their_protocol(count, make_comparison):
    extractors = {name: (name, "package") for name in EXTRACTORS[:count]}
    comparison = make_comparison("leakage", extractors=extractors, classifiers=CLASSIFIERS)
    _, figure = comparison_plot(comparison)
    for axes in figure.axes:
        aside = np.array([x - np.arange(4) for _, x, _, _ in curves_of(axes)])
        assert aside.shape == (4 * count, 4)
        np.testing.assert_allclose(aside.T, aside[:, [0]].T.repeat(4, axis=0))  # the same at every protocol
        assert np.diff(aside[:, 0]).min() > 0.03
        assert abs(aside).max() < 0.4
        assert aside.mean() == pytest.approx(0)


# -- transfer ------------------------------------------------------------------------------------------------


@transfers
def test_a_heat_map_draws_exactly_its_frame(name, make_comparison):
    frame, figure = comparison_plot(make_comparison(name))
    drawn = [axes for axes in figure.axes if axes.get_visible()]
    for axes, (title, part) in zip(drawn, models(frame), strict=True):
        assert axes.get_title() == title
        assert "*: not in training" in axes.get_xlabel()
        tests, sets = (
            [t.get_text() for t in ticks] for ticks in (axes.get_xticklabels(), axes.get_yticklabels())
        )
        part = part.set_index(["trained_on", "test"])
        values, texts = axes.images[0].get_array().filled(np.nan), {t.get_position(): t for t in axes.texts}
        assert values.shape == (len(sets), len(tests))
        for (i, j), value in np.ndenumerate(values):
            text = texts[(j, i)]
            if (sets[i], tests[j]) in part.index:
                line = part.loc[(sets[i], tests[j])]
                assert value == line["auc"]
                star = "" if line["seen"] else "*"
                assert text.get_text() == f"{100 * line['auc']:.0f}{star}"
                assert text.get_fontweight() == "normal"
            else:
                assert np.isnan(value)
                assert text.get_text() == "-"


def test_what_no_fold_could_judge_is_a_dash_as_in_the_table(make_comparison):
    _, figure = comparison_plot(make_comparison("attacks"))
    for axes in figure.axes[:4]:
        texts = {text.get_text() for text in axes.texts}
        assert "-" in texts
        assert "nan" not in texts


def test_a_test_set_that_no_fold_could_judge_is_a_column_of_dashes(make_comparison):
    comparison = make_comparison("attacks")
    comparison.trials.loc[comparison.trials["test"] == "Face2Face", "auc"] = np.nan
    _, figure = comparison_plot(comparison)
    assert len(figure.axes) == 4
    for axes in figure.axes:
        assert list(ticks_of(axes.xaxis)) == ["Deepfakes", "Face2Face", "FaceSwap"]
        column = ticks_of(axes.xaxis)["Face2Face"]
        texts = [text.get_text() for text in axes.texts if text.get_position()[0] == column]
        assert texts == ["-"] * 7


@transfers
def test_a_heat_map_has_training_sets_in_order(name, make_comparison):
    _, figure = comparison_plot(make_comparison(name))
    sets = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert sets == list(training_sets([text.get_text() for text in figure.axes[0].get_xticklabels()]))


@pytest.mark.parametrize("several", [True, False])
def test_the_names_of_the_attacks_do_not_overlap(several, make_comparison, make_one):
    comparison = make_comparison("attacks") if several else make_one("attacks")
    models = [(e, c) for e in comparison.extractors for c in comparison.suite.classifiers]
    lines = [
        {"extractor": extractor, "classifier": classifier, "trained_on": name, "test": test}
        for extractor, classifier in models
        for name in training_sets(FACEFORENSICS)
        for test in FACEFORENSICS
    ]
    frame = pd.DataFrame(lines).assign(auc=0.75, seen=True)
    figure = plot_transfer(replace(comparison, trials=frame), frame)
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_xticklabels()]
    assert len(boxes) == len(FACEFORENSICS)
    assert not any(box.overlaps(other) for box, other in pairwise(boxes))


# -- a new attack --------------------------------------------------------------------------------------------


def test_the_curves_draw_exactly_their_frame(make_comparison):
    frame, figure = comparison_plot(make_comparison("new-attack"))
    for number, (title, part) in enumerate(models(frame)):
        left, right = figure.axes[2 * number : 2 * number + 2]
        assert left.get_title() == right.get_title() == title
        attacks = list(part.groupby("attack", sort=False))
        drawn = [(left, "auc", curves_of(left)), (right, "recall", curves_of(right)[:2])]
        for axes, metric, curves in [*drawn, (right, "fpr", curves_of(right)[2:])]:
            counts = [int(text.get_text()) for text in axes.get_xticklabels()]
            for (label, x, y, deviations), (attack, lines) in zip(curves, attacks, strict=True):
                assert label == attack
                assert [counts[round(place)] for place in x] == lines["clips"].tolist()
                np.testing.assert_array_equal(y, lines[metric])
                np.testing.assert_allclose(deviations, lines[f"{metric}_deviation"])


def test_the_curves_of_an_attack_have_one_colour_and_one_entry(make_comparison):
    _, figure = comparison_plot(make_comparison("new-attack"))
    entries = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert entries == ["Deepfakes", "FaceSwap"]
    colours = {}
    for axes in figure.axes:
        for container in axes.containers:
            colours.setdefault(container.get_label(), set()).add(to_hex(container[0].get_color()))
    assert [len(each) for each in colours.values()] == [1, 1]
    assert len(set.union(*colours.values())) == 2
