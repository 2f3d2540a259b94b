import json
import re
from pathlib import Path

import pytest

from benchmarks.suite import Suite, builtin_suites, check_nested, parse_suite, read_suite
from classify.protocols import PROTOCOLS
from extract.compute import ComputeSettings
from extract.errors import RequestError

PAPERS = Path(__file__).parents[3] / "shared" / "reference" / "papers.json"
TOP = {
    "name": 'name = "mine"',
    "protocol": 'protocol = "target"',
    "extractors": 'extractors = ["mobilenetv2"]',
    "classifiers": "[classifiers.svc]\nC = [1.0]",
}
EVERYTHING = """
name = "all.of-it_1"
title = "Every key, with ± and 100 %"
protocol = "component"
folds = 4
nested = false
seed = 11
metric = "auc"
search = "halving"
level = "image"
aggregate = "top3"
thresholds = ["eer", "f1", "fpr<=0.01", "cost(missed=20, rejected=1, prior=0.02)"]
calibration = "isotonic"
perturb = ["jpeg-30", "noise"]
replicates = 500
backend = "torch"
precision = "fp32"
weights = "auto"
unknown_sources = "leave_out"
draw = { train = 40, test = 20 }
extractors = [
    "deit_small",
    { name = "timm:test_resnet", tap = "logits", size = 96, crop_fraction = 0.875, weights = "random" },
    "plugins/mine.py:make",
]

[data.synthetic]
identities = 6
real_clips = 1
fake_clips = 3
frames = 5
size = 128
group_size = 3
seed = 2
portraits = "portraits"

[faces]
frames = 8
stride = 5
detector = "none"
detect_size = 320
min_confidence = 0.5
select = "all"
margin = 0.0
size = 64
no_face = "fail"

[classifiers.svc]
kernel = ["rbf", "linear"]
C = [1, 2.5]

[classifiers.random_forest]
max_depth = ["none", 3]

[external]
manifest = "external/clips.csv"

[published]
source = 'A "paper" of 2025'
figures = { auc = { svc = { deit_small = 91.5 } } }
thresholds = [{ threshold = -1.5, f1 = 80.0 }]
"""


@pytest.fixture
def write(tmp_path):
    """Write a suite: the required keys, changed or dropped (None) by name, and lines put before or after."""

    def make(*, before="", after="", **changes):
        keys = {**TOP, **changes}
        keys["extractors"] = f"{keys['extractors']}\n{before}" if keys["extractors"] else before
        path = tmp_path / "mine.toml"
        path.write_text("\n".join([*(v for v in keys.values() if v), after]), encoding="utf-8")
        return path

    return make


@pytest.fixture
def everything(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text("def make(): ...", encoding="utf-8")
    (tmp_path / "all.toml").write_text(EVERYTHING, encoding="utf-8")
    return read_suite(str(tmp_path / "all.toml"))


def refusal(path):
    """Return the message that a suite is refused with, after checking that it is one line and has a code."""
    with pytest.raises(RequestError) as caught:
        read_suite(str(path))
    message = caught.value.message
    assert caught.value.code.startswith("E_")
    assert "\n" not in message
    assert len(message) < 400
    return message


# -- the suites that come with the package -------------------------------------------------------------------


def test_the_built_in_suites_are_found_by_name():
    assert list(builtin_suites()) == ["demo", "papic2025", "reactnet2024"]
    assert all(read_suite(name).name == name for name in builtin_suites())


def test_demo_is_five_extractors_by_four_classifiers_on_components():
    suite = read_suite("demo")
    assert [e.label for e in suite.extractors] == [
        *("inception_v4", "mobilenetv2", "reactnet_a", "convnext_tiny", "deit_small")
    ]
    assert list(suite.classifiers) == ["logistic_regression", "svc", "random_forest", "xgboost"]
    assert (suite.protocol, suite.folds, suite.weights) == ("component", 5, "auto")
    assert suite.data.synthetic is not None


def test_papic2025_is_the_papers_protocol():
    suite = read_suite("papic2025")
    assert [e.label for e in suite.extractors] == ["inception_v4", "convnext_base", "deit_base"]
    assert all((e.tap, e.size, e.crop_fraction) == ("pooled", 224, 1.0) for e in suite.extractors)
    assert (suite.protocol, suite.folds, suite.metric) == ("target", 5, "f1")
    assert (suite.weights, suite.data) == ("required", None)


def test_papic2025_has_exactly_this_grid():
    assert read_suite("papic2025").classifiers == {
        "logistic_regression": {"C": [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]},
        "svc": {"kernel": ["rbf"], "C": [0.01, 0.1, 1.0, 10.0, 100.0]},
        "random_forest": {
            "n_estimators": [100, 300, 500],
            "max_depth": [None, 10, 20],
            "min_samples_leaf": [1, 2, 5],
        },
        "xgboost": {
            "n_estimators": [100, 300, 500],
            "max_depth": [3, 6, 9],
            "learning_rate": [0.05, 0.1, 0.3],
            "colsample_bytree": [0.5, 1.0],
        },
    }


def test_reactnet2024_draws_the_papers_faces_from_the_official_split():
    suite = read_suite("reactnet2024")
    assert [e.label for e in suite.extractors] == ["reactnet_a", "mobilenetv2"]
    assert (suite.protocol, suite.metric, suite.weights) == ("official", "accuracy", "required")
    assert suite.draw == {"train": 5000, "test": 1000}
    assert (suite.faces.stride, suite.data) == (10, None)


@pytest.mark.skipif(not PAPERS.is_file(), reason=f"{PAPERS} is not on this machine")
def test_the_published_figures_are_the_papers():
    paper = json.loads(PAPERS.read_text(encoding="utf-8"))["papic2025"]
    names = {"inception": "inception_v4", "convnext": "convnext_base", "deit": "deit_base"}
    table = dict(paper["table1_percent"])
    columns = table.pop("columns")
    expected = {
        metric: {c: {names[e]: row[i] for e, row in rows.items()} for c, rows in table.items()}
        for i, metric in enumerate(columns)
    }
    assert read_suite("papic2025").published.figures == expected


@pytest.mark.skipif(not PAPERS.is_file(), reason=f"{PAPERS} is not on this machine")
def test_the_published_thresholds_are_the_papers():
    paper = json.loads(PAPERS.read_text(encoding="utf-8"))["papic2025"]
    table = dict(paper["table2_external_percent"])
    columns = table.pop("columns")
    expected = [
        {"threshold": float(name.removeprefix("threshold_")), **dict(zip(columns, row, strict=True))}
        for name, row in table.items()
    ]
    assert [entry.model_dump() for entry in read_suite("papic2025").published.thresholds] == expected


# -- reading and writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(builtin_suites()))
def test_a_built_in_suite_survives_the_round_trip(name, tmp_path):
    suite = read_suite(name)
    (tmp_path / "again.toml").write_text(suite.to_toml(), encoding="utf-8")
    again = read_suite(str(tmp_path / "again.toml"))
    assert again == suite
    assert again.to_toml() == suite.to_toml()


def test_a_suite_with_everything_set_survives_the_round_trip(everything, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "again.toml").write_text(everything.to_toml(), encoding="utf-8")
    assert read_suite(str(tmp_path / "elsewhere" / "again.toml")) == everything


def test_every_key_of_a_suite_is_read(everything):
    assert set(everything.model_dump(exclude_unset=True)) == set(Suite.model_fields)
    assert everything.title == "Every key, with ± and 100 %"
    assert (everything.folds, everything.seed, everything.metric) == (4, 11, "auc")
    assert (everything.level, everything.aggregate, everything.calibration) == ("image", "top3", "isotonic")
    assert everything.thresholds[1:3] == ["f1", "fpr<=0.01"]
    assert (everything.perturb, everything.replicates) == (["jpeg-30", "noise"], 500)
    assert (everything.search, everything.nested) == ("halving", False)
    assert everything.compute == ComputeSettings("torch", "fp32")
    assert (everything.unknown_sources, everything.draw) == ("leave_out", {"train": 40, "test": 20})
    assert (everything.faces.stride, everything.faces.no_face) == (5, "fail")
    assert everything.data.synthetic.group_size == 3
    assert everything.published.source == 'A "paper" of 2025'


def test_suites_are_nested_but_for_a_first_look_and_a_split_that_is_given(write):
    nests = {name: read_suite(name).nests for name in builtin_suites()}
    assert nests == {"demo": False, "papic2025": True, "reactnet2024": False}
    assert read_suite(str(write())).nests


@pytest.mark.parametrize(
    ("before", "protocol", "works"),
    [
        ("folds = 2", "target", False),
        ("folds = 3", "target", True),
        ("folds = 2\nnested = false", "target", True),
        ("folds = 2", "official", True),
    ],
)
def test_two_folds_have_nothing_inside(before, protocol, works, write):
    suite = read_suite(str(write(before=before, protocol=f'protocol = "{protocol}"')))
    if works:
        check_nested(suite)
    else:
        with pytest.raises(RequestError, match=r"got 2\. Use more folds, or nested = false \(--no-nested\)"):
            check_nested(suite)


def test_a_name_stands_for_an_extractors_defaults_and_a_table_for_its_settings(everything):
    plain, tapped, _ = everything.extractors
    assert (plain.tap, plain.size, plain.label) == ("pooled", 224, "deit_small")
    assert tapped.label == "timm_test_resnet-logits-96px-crop0.875-random"


def test_none_in_a_grid_becomes_none_and_back(everything):
    assert everything.classifiers["random_forest"]["max_depth"] == [None, 3]
    assert re.search(r'max_depth = \[\s*"none",\s*3,?\s*\]', everything.to_toml())


def test_whole_numbers_and_fractions_in_a_grid_keep_their_kind(everything):
    assert [type(value) for value in everything.classifiers["svc"]["C"]] == [int, float]


def test_relative_paths_start_from_the_files_folder(everything, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert everything.external.manifest == tmp_path / "external" / "clips.csv"
    assert everything.data.synthetic.portraits == tmp_path / "portraits"
    assert everything.extractors[2].name == f"{tmp_path / 'plugins' / 'mine.py'}:make"


def test_a_relative_manifest_starts_from_the_files_folder(write, tmp_path):
    suite = read_suite(str(write(after='[data]\nmanifest = "../some/clips"')))
    assert suite.data.manifest == tmp_path.parent / "some" / "clips"


def test_relative_folders_start_from_the_files_folder(write, tmp_path):
    suite = read_suite(str(write(after='[data]\nfolder = ["../some/clips", "more", "/elsewhere"]')))
    assert suite.data.folder == [
        tmp_path.parent / "some" / "clips",
        tmp_path / "more",
        Path("/elsewhere"),
    ]


def test_one_folder_and_one_manipulation_need_no_list(write, tmp_path):
    suite = read_suite(str(write(after="[data]\nfolder = 'x'\nmanipulations = 'Deepfakes'")))
    assert (suite.data.folder, suite.data.manipulations) == ([tmp_path / "x"], ["Deepfakes"])


FOLDERS = """
[data]
folder = ["one", "two"]
dataset = "faceforensics"
compression = "c23"
manipulations = ["Deepfakes", "FaceSwap"]
group = "part"
identity = '(id\\d+)'
clip = '(.*)_\\d+'
"""


def test_folders_with_every_option_survive_the_round_trip(write, tmp_path):
    suite = read_suite(str(write(after=FOLDERS)))
    assert set(suite.data.options) == {"identity", "clip", "compression", "manipulations", "group"}
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "again.toml").write_text(suite.to_toml(), encoding="utf-8")
    again = read_suite(str(tmp_path / "elsewhere" / "again.toml"))
    assert again == suite
    assert again.to_toml() == suite.to_toml()


def test_only_options_that_are_given_reach_the_data_set(write):
    suite = read_suite(str(write(after="[data]\nfolder = 'x'\ngroup = 'part'")))
    assert suite.data.options == {"group": "part"}


def test_an_absolute_path_stays(write):
    suite = read_suite(str(write(after='[data]\nmanifest = "/some/clips.csv"')))
    assert suite.data.manifest == Path("/some/clips.csv")


def test_identity_and_clip_expressions_come_with_a_folder(write):
    suite = read_suite(str(write(after="[data]\nfolder = 'x'\nidentity = '(id\\d+)'\nclip = '(.*)_\\d+'")))
    assert (suite.data.identity, suite.data.clip) == (r"(id\d+)", r"(.*)_\d+")


def test_a_suite_may_leave_out_what_has_a_default(write):
    suite = read_suite(str(write()))
    assert (suite.folds, suite.seed, suite.metric, suite.weights) == (5, 0, "f1", "required")
    assert suite.thresholds == ["f1", "youden", "eer"]
    assert (suite.level, suite.aggregate, suite.calibration) == (None, "mean", "platt")
    assert (suite.perturb, suite.replicates) == ([], 2000)
    assert suite.data is suite.external is suite.published is None


# -- refusals: one line each ---------------------------------------------------------------------------------

UNKNOWN_KEYS = [
    ({"before": 'metrc = "f1"'}, "metrc", "metric"),
    ({"before": "threshold = []"}, "threshold", "thresholds"),
    ({"after": "[faces]\nframse = 3"}, "framse", "frames"),
    ({"after": "[faces]\nmin_confidense = 0.5"}, "min_confidense", "min_confidence"),
    ({"after": "[data]\nfolder = 'x'\nidentiy = 'y'"}, "identiy", "identity"),
    ({"after": "[data]\nfolder = 'x'\ndatset = 'y'"}, "datset", "dataset"),
    ({"after": "[data]\nfolder = 'x'\nmanipulation = 'y'"}, "manipulation", "manipulations"),
    ({"before": 'pertrub = ["jpeg-30"]'}, "pertrub", "perturb"),
    ({"before": 'agregate = "max"'}, "agregate", "aggregate"),
    ({"before": "unknown_source = 'refuse'"}, "unknown_source", "unknown_sources"),
    ({"after": "[data.synthetic]\nidentites = 3"}, "identites", "identities"),
    ({"extractors": 'extractors = [{ name = "deit_base", sise = 96 }]'}, "sise", "size"),
    ({"extractors": 'extractors = ["deit_small", { name = "deit_base", tab = "logits" }]'}, "tab", "tap"),
    ({"after": "[external]\nmanifest = 'x'\nmanifset = 'y'"}, "manifset", "manifest"),
    ({"after": "[published]\nsource = 'x'\nfigures = {}\nthresholsd = []"}, "thresholsd", "thresholds"),
]


@pytest.mark.parametrize(("change", "wrong", "right"), UNKNOWN_KEYS, ids=[case[1] for case in UNKNOWN_KEYS])
def test_an_unknown_key_is_refused_with_the_nearest(change, wrong, right, write):
    message = refusal(write(**change))
    assert f"Expected a known key; got {wrong!r}. Did you mean {right!r}?" in message
    assert "mine.toml" in message


@pytest.mark.parametrize(
    ("change", "wrong", "right"),
    [
        ({"protocol": 'protocl = "target"'}, "protocl", "protocol"),
        ({"extractors": 'extractor = ["deit_base"]'}, "extractor", "extractors"),
        ({"after": "[external]\nmanifst = 'x'"}, "manifst", "manifest"),
    ],
)
def test_a_misspelt_required_key_is_refused_with_the_nearest(change, wrong, right, write):
    assert f"got {wrong!r}. Did you mean {right!r}?" in refusal(write(**change))


UNKNOWN_NAMES = [
    ({"extractors": 'extractors = ["convnext_bse"]'}, "extractor", "convnext_bse", "convnext_base"),
    ({"extractors": 'extractors = ["timm:resnet51"]'}, "timm model", "resnet51", "resnet51q"),
    ({"classifiers": "[classifiers.random_forrest]"}, "classifier", "random_forrest", "random_forest"),
    ({"protocol": 'protocol = "componnet"'}, "protocol", "componnet", "component"),
    ({"after": "[data]\nfolder = 'x'\ndataset = 'celebfd'"}, "data set", "celebfd", "celebdf"),
    ({"before": 'metric = "acuracy"'}, "metric", "acuracy", "accuracy"),
    ({"before": 'thresholds = ["f1", "yuden"]'}, "threshold rule", "yuden", "youden"),
    ({"before": 'aggregate = "medain"'}, "way to combine a clip's faces", "medain", "median"),
    ({"before": 'aggregate = "top0"'}, "way to combine a clip's faces", "top0", "top3"),
    ({"before": 'calibration = "plat"'}, "calibration", "plat", "platt"),
    ({"before": 'perturb = ["jpg-30"]'}, "perturbation", "jpg-30", "jpeg-30"),
    ({"after": '[faces]\ndetector = "mtcn"'}, "face detector", "mtcn", "mtcnn"),
]


@pytest.mark.parametrize(
    ("change", "kind", "wrong", "right"), UNKNOWN_NAMES, ids=[case[1] for case in UNKNOWN_NAMES]
)
def test_an_unknown_name_is_refused_with_the_nearest(change, kind, wrong, right, write):
    message = refusal(write(**change))
    assert message == f"Expected a known {kind}; got {wrong!r}. Did you mean {right!r}?"


def test_a_timm_model_without_its_prefix_is_refused_with_the_corrected_name(write):
    message = refusal(write(extractors='extractors = ["resnet50"]'))
    assert message == "Expected a known extractor; got 'resnet50', a timm model. Write 'timm:resnet50'."


def test_a_name_like_no_other_is_refused_with_all(write):
    message = refusal(write(protocol='protocol = "xyzzy"'))
    assert f"Choose one of: {', '.join(sorted(PROTOCOLS))}." in message


@pytest.mark.parametrize(
    ("name", "hint"),
    [("papic", r"Did you mean 'papic2025'\?"), ("xyzzy", r"Choose one of: demo, papic2025, reactnet2024\.")],
)
def test_an_unknown_suite_is_refused_with_the_nearest(name, hint):
    with pytest.raises(
        RequestError, match=rf"^Expected a known suite; got '{name}'\. {hint} \[E_NAME_UNKNOWN\]$"
    ):
        read_suite(name)


def test_a_suite_file_that_is_missing_is_refused(tmp_path):
    assert refusal(tmp_path / "no.toml").endswith("no.toml does not exist. Check the path.")


WRONG_VALUES = [
    ({"before": 'folds = "five"'}, "folds", "valid integer"),
    ({"before": "folds = 1"}, "folds", "greater than or equal to 2"),
    ({"before": "folds = 2.5"}, "folds", "valid integer"),
    ({"before": "seed = -1"}, "seed", "greater than or equal to 0"),
    ({"before": 'weights = "requird"'}, "weights", "'required' or 'auto'"),
    ({"before": 'thresholds = "f1"'}, "thresholds", "valid list"),
    ({"before": 'unknown_sources = "keep"'}, "unknown_sources", "'refuse' or 'leave_out'"),
    ({"before": "draw = { train = 0 }"}, "draw.train", "greater than or equal to 1"),
    ({"before": "draw = 5"}, "draw", "valid dictionary"),
    ({"before": 'level = "clip"'}, "level", "'image' or 'video'"),
    ({"before": "replicates = 99"}, "replicates", "greater than or equal to 100"),
    ({"before": "perturb = 3"}, "perturb", "valid list"),
    ({"name": 'name = "a/b"'}, "name", "pattern"),
    ({"protocol": "protocol = 3"}, "protocol", "valid string"),
    ({"extractors": 'extractors = "deit_base"'}, "extractors", "valid list"),
    ({"extractors": "extractors = []"}, "extractors", "at least 1 item"),
    ({"extractors": "extractors = [3]"}, "extractors.0", "dictionary"),
    ({"extractors": 'extractors = [{ name = "deit_base", size = 8 }]'}, "extractors.0.size", "equal to 16"),
    ({"classifiers": "[classifiers]"}, "classifiers", "at least 1 item"),
    ({"classifiers": "", "before": 'classifiers = ["svc"]'}, "classifiers", "valid dictionary"),
    ({"classifiers": "[classifiers]\nsvc = 3"}, "classifiers.svc", "valid dictionary"),
    ({"classifiers": "[classifiers.svc]\nC = 1.0"}, "classifiers.svc.C", "valid list"),
    ({"after": "[faces]\nframes = 0"}, "faces.frames", "greater than or equal to 1"),
    ({"after": '[faces]\nselect = "both"'}, "faces.select", "'largest', 'track' or 'all'"),
    ({"after": '[faces]\nevery = "1 m"'}, "faces.every", "got '1 m'"),
    ({"after": "[data.synthetic]\nidentities = 1"}, "data.synthetic", "identities of at least 2; got 1"),
    ({"after": "[data]\nmanifest = 3"}, "data.manifest", "path"),
]


@pytest.mark.parametrize(
    ("change", "where", "what"), WRONG_VALUES, ids=[f"{case[1]}-{case[2]}" for case in WRONG_VALUES]
)
def test_a_wrong_value_is_refused_with_its_place(change, where, what, write):
    message = refusal(write(**change))
    assert f"mine.toml: {where}: " in message
    assert what in message


@pytest.mark.parametrize(
    ("faces", "code"),
    [
        ('stride = 2\nevery = "1s"', "E_FACES_SAMPLING"),
        ('every = "1s"\nat = "keyframes"', "E_FACES_SAMPLING"),
        ('every = "soon"', "E_DURATION"),
        ('perturb = "jpg-30"', "E_NAME_UNKNOWN"),
        ("frames = 0", "E_SUITE"),
    ],
)
def test_a_refused_value_keeps_its_code(faces, code, write):
    with pytest.raises(RequestError) as caught:
        read_suite(str(write(after=f"[faces]\n{faces}")))
    assert caught.value.code == code
    assert str(caught.value).count("[E_") == 1


@pytest.mark.parametrize("key", ["name", "protocol", "extractors", "classifiers"])
def test_a_missing_key_is_named(key, write):
    assert f"mine.toml: {key}: Field required" in refusal(write(**{key: None}))


def test_further_mistakes_are_counted(write):
    assert refusal(write(before='folds = "a"\nseed = "b"\nweights = "c"')).endswith("(2 more)")


@pytest.mark.parametrize(
    ("lines", "got"),
    [
        ("manifest = 'a'\nfolder = 'b'", "manifest and folder"),
        ("folder = 'b'\n[data.synthetic]", "folder and synthetic"),
        ("folder = []", "none"),
        ("", "none"),
    ],
)
def test_not_exactly_one_source_of_data_is_refused(lines, got, write):
    message = refusal(write(after=f"[data]\n{lines}"))
    assert f"data: Expected one of manifest, folder, synthetic; got {got}." in message


@pytest.mark.parametrize("key", ["dataset", "identity", "clip", "compression", "manipulations", "group"])
@pytest.mark.parametrize("source", ["manifest = 'a'\n{} = 'x'", "{} = 'x'\n[data.synthetic]"])
def test_an_option_without_a_folder_is_refused(key, source, write):
    message = refusal(write(after=f"[data]\n{source.format(key)}"))
    assert f"data: Expected {key} with a folder only; a manifest has columns." in message


@pytest.mark.parametrize("perturb", ['["jpeg-30"]', '"all"'])
def test_perturbations_are_refused_where_clips_are_divided(perturb, write):
    message = refusal(write(protocol='protocol = "frame"', before=f"perturb = {perturb}"))
    assert message == (
        "Expected a protocol that keeps clips whole with perturb; got frame. Leave perturb out, or take another."
    )


def test_one_perturbation_needs_no_list(write):
    assert read_suite(str(write(before='perturb = "noise-5"'))).perturb == ["noise-5"]


def test_a_figure_that_needs_no_threshold_cannot_select(write):
    assert refusal(write(before='metric = "eer"')).startswith("Expected a known metric; got 'eer'.")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("fpr<=1.5", "Expected a share from 0 to 1 in threshold rule 'fpr<=1.5'; got 1.5."),
        ("fpr<0.01", "Expected a known threshold rule; got 'fpr<0.01'."),
        ("cost(missed=2)", "got 'cost(missed=2)'. Say what a missed and a rejected one cost."),
    ],
)
def test_a_threshold_rule_that_makes_no_sense_is_refused(rule, message, write):
    assert message in refusal(write(before=f'thresholds = ["{rule}"]'))


@pytest.mark.parametrize(
    ("extractors", "label"),
    [
        ('["deit_base", "deit_base"]', "deit_base"),
        ('["deit_base", "deit_small", { name = "deit_base", tap = "pooled" }]', "deit_base"),
        ('[{ name = "deit_base", size = 96 }, { name = "deit_base", size = 96 }]', "deit_base-96px"),
    ],
)
def test_a_repeated_extractor_is_refused(extractors, label, write):
    message = refusal(write(extractors=f"extractors = {extractors}"))
    assert message == f"Expected different extractors in the suite; got {label} twice. Remove one."


def test_an_extractor_may_come_with_two_taps(write):
    suite = read_suite(
        str(write(extractors='extractors = ["deit_base", { name = "deit_base", tap = "logits" }]'))
    )
    assert [e.label for e in suite.extractors] == ["deit_base", "deit_base-logits"]


def test_an_empty_grid_is_refused(write):
    message = refusal(write(classifiers="[classifiers.svc]\nC = []"))
    assert message == "Expected values for svc.C; got none. Add one."


def test_a_grid_parameter_that_is_not_tuned_is_refused(write):
    message = refusal(write(classifiers="[classifiers.svc]\nnu = [0.5]"))
    assert message == "Expected a grid over C, kernel, gamma for svc; got 'nu'. Correct the suite."


def test_a_plugin_that_is_missing_is_refused(write, tmp_path):
    message = refusal(write(extractors='extractors = ["mine.py"]'))
    assert message == f"Expected a plugin file; {tmp_path / 'mine.py'} does not exist. Check the path."


@pytest.mark.parametrize(
    "content", [b"name = ", b"a = 1\na = 2", b"name = '\xff'"], ids=["cut", "twice", "latin"]
)
def test_a_file_that_is_not_toml_is_refused(content, tmp_path):
    (tmp_path / "mine.toml").write_bytes(content)
    assert "Expected TOML in " in refusal(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    "section",
    [
        "[published.figures.acu.svc]\nmobilenetv2 = 90.0",
        "[published.figures.auc.svm]\nmobilenetv2 = 90.0",
        "[[published.thresholds]]\nthreshld = 0.5\nf1 = 80.0",
        "[[published.thresholds]]\nthreshold = 0.5\nf2 = 80.0",
    ],
    ids=["metric", "classifier", "threshold", "threshold-metric"],
)
def test_a_misspelt_published_figure_is_refused(section, write):
    figures = "figures = {}\n" if "thresholds" in section else ""
    refusal(write(after=f"[published]\nsource = 'x'\n{figures}{section}"))


def test_parsing_does_not_look_names_up(write):
    assert parse_suite(write(extractors='extractors = ["gone"]')).extractors[0].name == "gone"
