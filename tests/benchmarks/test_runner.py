import hashlib
import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from benchmarks import data as find
from benchmarks import results, runner
from benchmarks.data import perturbed_faces
from benchmarks.machine import Machine
from benchmarks.results import read_run
from benchmarks.runner import run
from classify.audit import describe_audit
from classify.metrics import METRICS
from classify.protocols import PROTOCOLS
from extract.errors import RequestError
from extract.extractor_settings import ExtractorSettings
from extract.extractors import features_key, load_extractor, title_of
from extract.faces import faces_key
from extract.store import Store
from extract.weights import WeightSettings
from reports.optimism import optimism_table
from reports.report import write_report
from reports.responses import non_responses, rate_of


class Interrupted(Exception):
    """Stands for whatever ends a run in the middle."""


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def bytes_of(folder):
    """Return every file's bytes by its path below `folder`."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def forbid(monkeypatch):
    """Make a function fail when it is called."""

    def fail(*args, **options):
        raise AssertionError("nothing should be computed")

    return lambda place, name: monkeypatch.setattr(place, name, fail)


@pytest.fixture
def searched(monkeypatch):
    """Return the classifiers that were searched, in order; `limit` in it ends the run before the next."""
    real, seen = runner.search, []

    def search(*args, **options):
        if len(seen) == search.limit:
            raise Interrupted
        seen.append(options["classifier"])
        return real(*args, **options)

    search.limit = None
    monkeypatch.setattr(runner, "search", search)
    return search, seen


@pytest.fixture
def two_extractors(plugin):
    return [plugin("pixels.py", "pixels"), plugin("others.py", "others")]


# -- a run ---------------------------------------------------------------------------------------------------


def test_a_run_says_what_it_runs_on_and_what_it_left_out(tiny, machine, said, tmp_path):
    folder = run(tiny(), machine=machine, out=tmp_path / "out")
    assert folder == tmp_path / "out"
    assert said[0] == "pixels           plugin own     plugin: plugin"
    assert said[-1] == (
        f"Inputs left out, used in part or missing: 2 skipped; see {tmp_path / 'out' / 'skipped.csv'}."
    )


def test_a_run_says_and_keeps_what_its_folds_share(tiny, machine, said, tmp_path):
    folder = run(tiny(), machine=machine, out=tmp_path / "out")
    audit = pd.read_csv(folder / "audit.csv")
    assert set(said) > set(describe_audit(audit))
    assert said[1] == "Protocol target: no person shown is on both sides; a face put in may be."
    assert audit["protocol"].tolist() == ["target"] * 3
    assert audit["fold"].tolist() == [1, 2, 3]
    assert (audit["shared_identities"] == 0).all()
    assert audit["test_faces"].sum() == 36
    assert audit["near_duplicates"].notna().all()


def test_the_default_folder_is_named_after_suite_and_key(tiny, machine, tmp_path):
    folder = run(tiny(), machine=machine, results=tmp_path / "results")
    key = read(folder / "run.json")["key"]
    assert folder == tmp_path / "results" / f"tiny-{key[:8]}"


def test_a_visible_difference_is_found(finished):
    for unit in read_run(finished).units.values():
        image = unit.metrics.query("data == 'out-of-fold' and level == 'image' and rule == 'default'")
        assert image["auc"].mean() > 0.6


def pixels_of(manifest):
    """Compute the plugin's features of a manifest's images by their SHA-256, without the product."""
    found = {}
    for path in manifest.parent.glob("*/*_[01].png"):
        flat = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).reshape(-1, 3).astype(np.float32)
        found[hashlib.sha256(path.read_bytes()).hexdigest()] = np.concatenate([flat.mean(0), flat.std(0)])
    return found


def test_every_score_is_that_of_its_own_picture(finished, training, elsewhere):
    unit = finished / "units" / "pixels" / "logistic_regression"
    predictions = pd.read_parquet(unit / "predictions.parquet")
    inside, outside = (predictions[predictions["data"] == name] for name in ("out-of-fold", "external"))
    ours, theirs = pixels_of(training), pixels_of(elsewhere)
    X, new = np.stack([ours[c] for c in inside["content"]]), np.stack([theirs[c] for c in outside["content"]])
    y, fold, means = inside["label"].to_numpy(), inside["fold"].to_numpy(), []
    for number in range(3):
        model = LogisticRegression(max_iter=5000, **read(unit / "unit.json")["best"])
        model.fit(X[fold != number], y[fold != number])
        mine = inside["score"][fold == number]
        np.testing.assert_allclose(model.decision_function(X[fold == number]), mine, rtol=1e-3, atol=1e-3)
        means.append(model.decision_function(new))
    np.testing.assert_allclose(np.mean(means, axis=0), outside["score"], rtol=1e-3, atol=1e-3)


def test_two_fresh_runs_leave_the_same_bytes(finished, write_suite, elsewhere, tmp_path):
    suite = write_suite(tmp_path, external=elsewhere, protocol="component")
    again = run(suite, machine=Machine(Store(tmp_path / "cache")), out=tmp_path / "out")
    once, twice = bytes_of(finished), bytes_of(again)
    assert once.keys() == twice.keys()
    assert [name for name in once if once[name] != twice[name]] == []


# -- every protocol --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder for the runs of this module, whose cache they share."""
    return tmp_path_factory.mktemp("protocols")


@pytest.fixture(scope="module")
def run_under(home, write_suite, swaps):
    """Run the tiny suite on some data, by default the swaps, into the folder of that name; returns it."""

    def carry_out(name, *, data=swaps, **keys):
        suite = write_suite(home, data=data, **keys)
        return run(suite, machine=Machine(Store(home / "cache")), out=home / name)

    return carry_out


@pytest.fixture(scope="module", params=list(PROTOCOLS))
def under(request, run_under):
    """Return a finished run under each protocol."""
    return read_run(run_under(request.param, protocol=request.param))


def places(table):
    """Return which faces a table is about, with their clips, in its order."""
    return list(table[["content", "face", "clip", "label"]].itertuples(index=False, name=None))


def test_under_every_protocol_exactly_the_tested_faces_are_reported(under):
    tested = under.faces[under.faces["fold"] >= 0]
    for unit in under.units.values():
        # Where a data set has a test part of its own, validation is what parameters were chosen on.
        assert set(unit.predictions["data"]) in ({"out-of-fold"}, {"validation", "test"})
        reported = unit.predictions[unit.predictions["data"] != "validation"]
        assert places(reported) == places(tested)
        assert np.isfinite(unit.predictions["score"]).all()


def test_under_every_protocol_every_tested_fold_has_its_figures(under):
    folds = under.faces["fold"].max() + 1
    assert under.audit["protocol"].tolist() == [under.suite.protocol] * folds
    for unit in under.units.values():
        image = unit.metrics.query("level == 'image' and rule == 'f1' and data != 'validation'")
        assert image["fold"].tolist() == (list(range(folds)) if folds > 1 else [-1])
        assert image["auc"].between(0, 1).all()


def test_under_every_protocol_the_audit_finds_nobody_whom_it_keeps_apart(under):
    columns = {"identity": "shared_identities", "source_identity": "shared_people"}
    for column in PROTOCOLS[under.suite.protocol].disjoint:
        assert (under.audit[columns[column]] == 0).all()


def test_fakes_that_sit_out_have_no_score(run_under, make_ring, home):
    result = read_run(run_under("ring", data=make_ring(home / "ring data"), protocol="strict"))
    sat_out = result.faces[result.faces["fold"] < 0]
    assert set(sat_out["label"]) == {1}
    assert result.counts["other_clips"] == sat_out["clip"].nunique() > 0
    for unit in result.units.values():
        assert set(unit.predictions["content"]).isdisjoint(sat_out["content"])


@pytest.fixture(scope="module")
def make_ring(make_swaps):
    """Write persons of whom each lent a face to the next, the last one to the first; returns the manifest's path."""

    def make(folder):
        path = make_swaps(folder, splits=["", "", ""])
        clips = pd.read_csv(path, keep_default_na=False)
        clips = clips[clips["attack"] != "swap"]
        people = sorted(clips["identity"].unique())
        following = dict(zip(people, people[1:] + people[:1], strict=True))
        fake = clips["label"] == "fake"
        clips.assign(source_identity=clips["identity"].map(following).where(fake, "")).to_csv(
            path, index=False
        )
        return path

    return make


# -- a data set's own split ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["with validation", "without validation"])
def official(request, run_under, make_swaps, home):
    """Return two finished runs of an official split, the second with other labels in its test part."""
    middle = "val" if request.param == "with validation" else "train"
    data = make_swaps(home / f"{middle} data", splits=["train", "train", middle, "test", ""])
    clips = pd.read_csv(data, keep_default_na=False)
    other = data.with_name("other.csv")
    swapped = clips["label"].map({"real": "fake", "fake": "real"})
    clips.assign(label=clips["label"].where(clips["split"] != "test", swapped)).to_csv(other, index=False)
    return [
        read_run(run_under(f"{middle} {file.stem}", data=file, protocol="official", nested="true"))
        for file in (data, other)
    ]


def test_the_test_parts_labels_choose_no_parameter_and_no_threshold(official):
    ours, other = official
    for key, unit in ours.units.items():
        assert other.units[key].best == unit.best
        assert other.units[key].deploy == unit.deploy
        kept = unit.predictions["data"] == "validation"
        pd.testing.assert_frame_equal(other.units[key].predictions[kept], unit.predictions[kept])
        scores = [u.predictions["score"] for u in (unit, other.units[key])]
        pd.testing.assert_series_equal(*scores)


def test_the_test_parts_labels_change_its_figures(official):
    figures = [
        unit.metrics.query("data == 'test' and level == 'image' and rule == 'default'")["auc"].item()
        for unit in (result.units[("pixels", "logistic_regression")] for result in official)
    ]
    assert figures[0] == pytest.approx(1 - figures[1])
    assert figures[0] > 0.6


def test_the_test_part_is_judged_once_with_the_deployed_thresholds(official):
    for unit in official[0].units.values():
        once = unit.metrics[unit.metrics["data"] == "test"]
        assert (once["fold"] == -1).all()
        for line in once[once["rule"] != "default"].itertuples():
            assert line.threshold == unit.deploy[line.level][line.rule]


def test_parameters_are_chosen_on_the_validation_part_or_on_folds_of_the_training_part(official):
    result = official[0]
    faces = result.faces.set_index(["content", "face"])
    middle = "val" if "val" in set(faces["split"]) else "train"
    for unit in result.units.values():
        own = unit.predictions[unit.predictions["data"] == "validation"]
        split = faces.loc[pd.MultiIndex.from_frame(own[["content", "face"]]), "split"]
        assert set(split) == {middle}
        assert len(own) == (faces["split"] == middle).sum()
        assert set(own["fold"]) == ({0} if middle == "val" else {0, 1, 2})


def test_faces_without_a_split_are_not_used(official):
    result = official[0]
    assert set(result.faces[result.faces["split"] == ""]["fold"]) == {-1}
    for unit in result.units.values():
        content = result.faces[result.faces["split"] == ""]["content"]
        assert set(unit.predictions["content"]).isdisjoint(content)


def test_the_test_parts_scores_are_the_mean_of_the_models_that_chose(official, home):
    result = official[0]
    unit = result.units[("pixels", "logistic_regression")]
    own, once = (unit.predictions[unit.predictions["data"] == data] for data in ("validation", "test"))
    pixels = pixels_of(home / "val data" / "clips.csv") | pixels_of(home / "train data" / "clips.csv")
    train = result.faces[result.faces["split"].isin(["train", "val"])]
    fold = dict(zip(own["content"], own["fold"], strict=True))
    number = np.array([fold.get(content, -1) for content in train["content"]])
    X, new = (np.stack([pixels[c] for c in part["content"]]) for part in (train, once))
    means = []
    for k in sorted(set(own["fold"])):
        model = LogisticRegression(max_iter=5000, **unit.best)
        model.fit(X[number != k], train["label"].to_numpy()[number != k])
        means.append(model.decision_function(new))
    np.testing.assert_allclose(np.mean(means, axis=0), once["score"], rtol=1e-3, atol=1e-3)


def test_drawn_faces_are_the_ones_that_are_used(run_under):
    result = read_run(run_under("drawn", protocol="official", top="draw = { train = 12, test = 4 }"))
    assert result.faces.groupby(["split", "label"]).size().to_dict() == {
        **{("test", 0): 4, ("test", 1): 4},
        **{("train", 0): 12, ("train", 1): 12},
    }


# -- perturbed clips, and further columns ------------------------------------------------------------------------


PERTURBED = 'perturb = ["jpeg-30", "noise-20"]\nthresholds = ["f1"]'


@pytest.fixture(scope="module")
def with_device(training, home):
    """Return the training manifest with a column that says which camera was used; the first person's clips as are."""
    folder = shutil.copytree(training.parent, home / "devices")
    clips = pd.read_csv(folder / "clips.csv")
    device = np.where(clips["identity"] < "p5", "phone", "webcam")
    clips.assign(device=device, note=clips["path"], same="x").to_csv(folder / "clips.csv", index=False)
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def losing():
    """Lose every face of one genuine clip under noise."""
    real = find.find_faces

    def find_faces(manifest, settings, **options):
        rows, left = real(manifest, settings, **options)
        return (rows[rows["clip"] != "real-p1"], left) if settings.perturb == "noise-20" else (rows, left)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find, "find_faces", find_faces)
        yield


@pytest.fixture(scope="module")
def perturbed(losing, run_under, with_device):
    """Return the folder of a finished run with two perturbations and a further column."""
    return run_under("perturbed", data=with_device, top=PERTURBED)


def test_perturbed_faces_have_features_of_their_own(perturbed, home, plugin):
    store = Store(home / "cache")
    suite = read_run(perturbed).suite
    contents = set(read_run(perturbed).faces["content"])
    extractor = load_extractor(suite.extractors[0], weights=WeightSettings())
    seen = {}
    for name in (None, "jpeg-30", "noise-20"):
        settings = suite.faces if name is None else perturbed_faces(suite, name)
        index = store.feature_index(features_key(extractor, faces_key(settings)))
        mine = index[index["content"].isin(contents)]
        seen[name] = len(mine)
    assert seen == {None: 36, "jpeg-30": 36, "noise-20": 34}


def test_perturbed_clips_are_scored_by_the_model_of_their_fold(perturbed):
    run = read_run(perturbed)
    fold = run.faces.groupby("clip")["fold"].first()
    for unit in run.units.values():
        own = unit.predictions.query("data == 'out-of-fold'").set_index(["content", "face"])
        assert list(unit.predictions["data"].unique()) == ["out-of-fold", "jpeg-30", "noise-20"]
        for name, count in (("jpeg-30", 36), ("noise-20", 34)):
            mine = unit.predictions[unit.predictions["data"] == name]
            assert len(mine) == count
            assert (mine["fold"] == mine["clip"].map(fold)).all()
            before = own.loc[list(zip(mine["content"], mine["face"], strict=True)), "score"].to_numpy()
            assert (mine["score"].to_numpy() != before).any()


def test_a_clip_that_loses_its_face_is_counted_and_not_fatal(perturbed):
    files = read_run(perturbed).files
    assert files["data"].value_counts().to_dict() == {"own": 37, "jpeg-30": 37, "noise-20": 37}
    without = files[files["faces"] == 0].groupby("data")["clip"].agg(sorted).to_dict()
    assert without == {
        "own": ["broken"],
        "jpeg-30": ["broken"],
        "noise-20": ["broken", "real-p1", "real-p1"],
    }
    rates = non_responses(read_run(perturbed))
    assert rate_of(rates, "jpeg-30", label=0) == pytest.approx(1 / 10)
    assert rate_of(rates, "noise-20", label=0) == pytest.approx(2 / 10)
    assert rate_of(rates, "noise-20", label=1) == 0


def test_only_columns_with_a_few_values_make_groups(perturbed):
    unit = read_run(perturbed).units[("pixels", "random_forest")]
    assert set(unit.errors["column"]) == {
        "attack",
        "device",
    }  # a name for each file, and one for all, make none
    lines = unit.errors.query("column == 'device' and data == 'out-of-fold' and level == 'video'")
    assert lines.query("rule == 'default'")[["value", "fakes", "reals"]].to_numpy().tolist() == [
        ["phone", 5, 5],
        ["webcam", 4, 4],
    ]


def test_its_report_has_tables_of_robustness_and_of_groups(perturbed, tmp_path):
    folder = shutil.copytree(perturbed, tmp_path / "copy")
    write_report(folder)
    for name in ("robustness", "groups"):
        assert (folder / "tables" / f"{name}.md").is_file()
    assert (folder / "figures" / "robustness.png").is_file()


def test_a_finished_run_with_perturbations_computes_nothing(
    perturbed, write_suite, with_device, forbid, home
):
    before, said = bytes_of(perturbed), []
    for name in ("find_all_faces", "load_features", "search", "fit_fold_models", "write_unit"):
        forbid(runner, name)
    suite = write_suite(home, data=with_device, top=PERTURBED)
    run(suite, machine=Machine(Store(home / "cache"), say=said.append), out=perturbed)
    assert said[-1] == "Finished before: nothing to compute."
    assert bytes_of(perturbed) == before


def test_perturbations_are_part_of_the_request(tiny, machine, done):
    with pytest.raises(RequestError, match="holds a run of other data"):
        run(tiny(top='perturb = ["noise-20"]'), machine=machine, out=done)


def test_perturbations_of_divided_clips_are_refused(tiny):
    with pytest.raises(RequestError, match="keeps clips whole with perturb; got frame"):
        tiny(protocol="frame", top='perturb = ["noise-20"]')


# -- the same request again ----------------------------------------------------------------------------------


def test_a_finished_run_computes_nothing(tiny, machine, said, forbid, done):
    before = bytes_of(done)
    for name in ("find_all_faces", "load_features", "search", "fit_fold_models", "write_unit"):
        forbid(runner, name)
    assert run(tiny(), machine=machine, out=done) == done
    assert said[-1] == "Finished before: nothing to compute."
    assert bytes_of(done) == before


@pytest.mark.usefixtures("done")
def test_another_folder_reuses_faces_and_features(tiny, machine, forbid, tmp_path):
    for name in ("write_faces", "write_features"):
        forbid(Store, name)
    run(tiny(folds=2), machine=machine, out=tmp_path / "other")
    assert len(read_run(tmp_path / "other").units) == 2


def test_an_interrupted_run_continues_with_the_missing_units(
    tiny, machine, searched, two_extractors, tmp_path
):
    suite, (search, seen) = tiny(extractors=two_extractors), searched
    search.limit = 1
    with pytest.raises(Interrupted):
        run(suite, machine=machine, out=tmp_path / "out")
    with pytest.raises(RequestError, match="has no DONE mark"):
        read_run(tmp_path / "out")
    search.limit = None
    seen.clear()
    run(suite, machine=machine, out=tmp_path / "out")
    assert seen == ["random_forest", "logistic_regression", "random_forest"]
    run(suite, machine=machine, out=tmp_path / "whole")
    assert list(read_run(tmp_path / "out").units) == [
        (extractor, classifier)
        for extractor in ("pixels", "others")
        for classifier in ("logistic_regression", "random_forest")
    ]
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


def test_a_finished_extractor_needs_no_features(
    tiny, machine, searched, two_extractors, monkeypatch, tmp_path
):
    suite, (search, _) = tiny(extractors=two_extractors), searched
    search.limit = 2
    with pytest.raises(Interrupted):
        run(suite, machine=machine, out=tmp_path / "out")
    search.limit, loaded, real = None, [], runner.load_features

    def load_features(rows, extractor, **options):
        loaded.append(extractor.name)
        return real(rows, extractor, **options)

    monkeypatch.setattr(runner, "load_features", load_features)
    run(suite, machine=machine, out=tmp_path / "out")
    assert loaded == ["perceptual_hash", "others"]


def test_a_unit_is_whole_or_absent(tiny, machine, monkeypatch, tmp_path):
    real = results.write_json

    def write_json(path, value):
        if path.name == "unit.json":
            raise Interrupted
        real(path, value)

    monkeypatch.setattr(results, "write_json", write_json)
    with pytest.raises(Interrupted):
        run(tiny(), machine=machine, out=tmp_path / "out")
    assert not (tmp_path / "out" / "units").exists()
    left = [path.name for path in (tmp_path / "out" / "scratch").iterdir()]
    assert left == ["search-pixels-logistic_regression"]  # whose units need not be done again
    monkeypatch.setattr(results, "write_json", real)
    run(tiny(), machine=machine, out=tmp_path / "out")
    assert len(read_run(tmp_path / "out").units) == 2


def test_the_same_data_elsewhere_is_the_same_request(tiny, machine, said, training, done, tmp_path):
    moved = shutil.copytree(training.parent, tmp_path / "moved")
    run(tiny(data=moved / training.name), machine=machine, out=done)
    assert said[-1] == "Finished before: nothing to compute."


@pytest.mark.parametrize(
    "change",
    [
        {"folds": 2},
        {"nested": "true"},
        {"top": "seed = 1"},
        {"top": 'metric = "auc"'},
        {"top": 'thresholds = ["f1"]'},
        {"protocol": "component"},
        {"sections": "[classifiers.svc]\nC = [1.0]"},
        {"weights": "required"},
        {"top": 'unknown_sources = "leave_out"'},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_request_into_the_same_folder_is_refused(change, tiny, machine, done):
    before = bytes_of(done)
    with pytest.raises(RequestError, match="holds a run of other data, settings, weights or versions"):
        run(tiny(**change), machine=machine, out=done)
    assert bytes_of(done) == before


@pytest.fixture
def relabelled(training, tmp_path):
    """Return the training manifest with one person called by another name."""
    folder = shutil.copytree(training.parent, tmp_path / "data")
    text = (folder / "clips.csv").read_text(encoding="utf-8")
    (folder / "clips.csv").write_text(text.replace("png,real,p8,", "png,real,p7,"), encoding="utf-8")
    return folder / "clips.csv"


def test_other_data_in_the_same_folder_is_refused(tiny, machine, relabelled, done):
    with pytest.raises(RequestError, match="holds a run of other data"):
        run(tiny(data=relabelled), machine=machine, out=done)


def test_external_data_is_part_of_the_request(tiny, machine, elsewhere, done):
    with pytest.raises(RequestError, match="holds a run of other data"):
        run(tiny(external=elsewhere), machine=machine, out=done)


@pytest.mark.usefixtures("done")
def test_a_new_name_of_a_person_costs_no_features(tiny, machine, relabelled, forbid, tmp_path):
    forbid(Store, "write_features")
    run(tiny(data=relabelled), machine=machine, out=tmp_path / "other")


def test_a_folder_with_foreign_files_is_refused_before_anything_is_computed(tiny, machine, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RequestError, match="holds other files"):
        run(tiny(), machine=machine, out=tmp_path / "out")
    assert bytes_of(tmp_path / "out") == {"notes.txt": b"mine"}
    assert not (machine.store.root / "faces").exists()


def test_a_leftover_of_a_killed_run_is_no_foreign_file(tiny, machine, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".tmp-0123").write_bytes(b"half")
    run(tiny(), machine=machine, out=tmp_path / "out")
    assert not (tmp_path / "out" / ".tmp-0123").exists()


def test_a_new_title_shows_without_computing_again(tiny, machine, done):
    run(tiny(top='title = "New"'), machine=machine, out=done)
    assert read_run(done).suite.title == "New"


def test_a_new_title_does_not_stop_an_unfinished_run(tiny, machine, searched, tmp_path):
    search, seen = searched
    search.limit = 1
    with pytest.raises(Interrupted):
        run(tiny(top='title = "Old"'), machine=machine, out=tmp_path / "out")
    search.limit = None
    run(tiny(top='title = "New"'), machine=machine, out=tmp_path / "out")
    assert seen == ["logistic_regression", "random_forest"]
    assert read_run(tmp_path / "out").suite.title == "New"


# -- weights -------------------------------------------------------------------------------------------------

RESNET = [{"name": "timm:test_resnet", "size": 32}, {"name": "timm:test_resnet", "size": 32, "tap": "logits"}]


def as_toml(extractors):
    tables = ("{ " + ", ".join(f"{key} = {json.dumps(v)}" for key, v in e.items()) + " }" for e in extractors)
    return f"[{', '.join(tables)}]"


def test_random_weights_are_recorded_and_said(tiny, machine, said, tmp_path):
    folder = run(tiny(extractors=as_toml(RESNET)), machine=machine, out=tmp_path / "out")
    extractors = read(folder / "extractors.json")
    assert list(extractors) == ["timm_test_resnet-32px", "timm_test_resnet-logits-32px"]
    for name, entry in extractors.items():
        assert (entry["weights"], entry["source"]) == ("random", "random, seed 0")
        assert any(line.startswith(name) and "RANDOM WEIGHTS (random, seed 0)" in line for line in said)


def test_two_taps_of_one_network_have_titles_of_their_own():
    weights = WeightSettings(policy="auto")
    titles = {title_of(load_extractor(ExtractorSettings(**each), weights=weights)) for each in RESNET}
    assert len(titles) == 2


def test_required_weights_that_are_missing_are_refused_before_a_file_is_hashed(tiny, machine, tmp_path):
    suite = tiny(extractors=as_toml(RESNET), weights="required")
    with pytest.raises(RequestError, match="Expected weights for timm:test_resnet; found none"):
        run(suite, machine=machine, out=tmp_path / "out")
    assert not (machine.store.root / "hashes").exists()


def test_a_manifest_that_is_missing_is_refused_before_weights_are_looked_for(tiny, machine, tmp_path):
    suite = tiny(extractors=as_toml(RESNET), weights="required", data=tmp_path / "none.csv")
    with pytest.raises(RequestError, match=r"none\.csv, which does not exist"):
        run(suite, machine=machine, out=tmp_path / "out")


# -- requests that end badly ---------------------------------------------------------------------------------


def test_two_plugins_of_one_name_are_refused(tiny, machine, plugin, tmp_path):
    suite = tiny(extractors=[plugin("one.py", "same"), plugin("two.py", "same")])
    with pytest.raises(RequestError, match="same"):
        run(suite, machine=machine, out=tmp_path / "out")


@pytest.mark.parametrize("column", ["attack", "note"])
def test_further_columns_of_a_manifest_reach_the_faces(column, tiny, machine, training, tmp_path):
    manifest = with_column(training, column, tmp_path)
    folder = run(tiny(data=manifest), machine=machine, out=tmp_path / "out")
    assert (pd.read_parquet(folder / "faces.parquet")[column] == "x").all()


def with_column(training, column, tmp_path):
    folder = shutil.copytree(training.parent, tmp_path / "data")
    pd.read_csv(folder / "clips.csv").assign(**{column: "x"}).to_csv(folder / "clips.csv", index=False)
    return folder / "clips.csv"


@pytest.mark.parametrize("column", ["face", "frame", "confidence"])
def test_a_manifest_with_a_column_that_results_use_is_refused(column, tiny, machine, training, tmp_path):
    with pytest.raises(RequestError, match=f"got '{column}'"):
        run(tiny(data=with_column(training, column, tmp_path)), machine=machine, out=tmp_path / "out")


def test_external_data_without_a_face_of_one_class_is_refused(tiny, machine, elsewhere, searched, tmp_path):
    folder = shutil.copytree(elsewhere.parent, tmp_path / "data")
    for path in (folder / "real").iterdir():
        path.write_bytes(f"no image: {path.name}".encode())
    with pytest.raises(RequestError, match="external"):
        run(tiny(external=folder / "clips.csv"), machine=machine, out=tmp_path / "out")
    assert searched[1] == []


# -- nested ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nested(run_under, training):
    """Return a finished nested run of three folds."""
    return read_run(run_under("nested", data=training, nested="true", top='thresholds = ["f1"]'))


@pytest.fixture(scope="module")
def swapped(home, training, nested, run_under):
    """Return the same with real and fake exchanged among the persons of the first fold."""
    there = set(nested.faces[nested.faces["fold"] == 0]["identity"])
    clips = pd.read_csv(training)
    clips["path"] = [str(training.parent / path) for path in clips["path"]]
    other = clips["label"].map({"real": "fake", "fake": "real"})
    clips.assign(label=clips["label"].where(~clips["identity"].isin(there), other)).to_csv(
        home / "swapped.csv", index=False
    )
    keys = {"nested": "true", "top": 'thresholds = ["f1"]'}
    return read_run(run_under("swapped", data=home / "swapped.csv", **keys))


def best_cut(y, score):
    """Return the lowest threshold with the highest F1, half way between two scores."""
    values = np.unique(score)
    cuts = (values[:-1] + values[1:]) / 2
    return cuts[np.argmax([f1_score(y, score >= cut) for cut in cuts])]


def logistic_regression(X, y, C):
    return LogisticRegression(C=C, max_iter=5000).fit(X, y).decision_function


def test_nested_figures_are_those_of_a_search_inside_each_fold(nested, training):
    unit, pixels = nested.units[("pixels", "logistic_regression")], pixels_of(training)
    fold, y = nested.faces["fold"].to_numpy(), nested.faces["label"].to_numpy()
    X = np.stack([pixels[content] for content in nested.faces["content"]])
    scores, called = np.zeros(len(y)), np.zeros(len(y))
    at = "data == 'nested' and level == 'image' and rule == 'f1'"
    for k in range(3):
        others, inside, f1 = sorted({0, 1, 2} - {k}), {}, {}
        for C in (0.01, 1.0):
            inside[C] = np.zeros(len(y))
            for n, other in (others, others[::-1]):
                model = logistic_regression(X[fold == other], y[fold == other], C)
                inside[C][fold == n] = model(X[fold == n])
            f1[C] = np.mean([f1_score(y[fold == n], inside[C][fold == n] >= 0) for n in others])
        best = max(f1, key=f1.get)
        assert unit.nested[k] == {"best": {"C": best}, "converged": True}
        cut = best_cut(y[fold != k], inside[best][fold != k])
        assert unit.metrics.query(f"{at} and fold == @k")["threshold"].item() == pytest.approx(cut, abs=1e-3)
        scores[fold == k] = logistic_regression(X[fold != k], y[fold != k], best)(X[fold == k])
        called[fold == k] = scores[fold == k] >= cut
    mine = unit.predictions.query("data == 'nested'")
    np.testing.assert_allclose(mine["score"], scores, rtol=1e-3, atol=1e-3)
    figures = unit.estimates.query(at).set_index("metric")["estimate"]
    for metric, measure in {"f1": f1_score, "accuracy": accuracy_score, "mcc": matthews_corrcoef}.items():
        assert figures[metric] == pytest.approx(measure(y, called))


def test_a_folds_own_labels_choose_nothing_inside_it(nested, swapped):
    pd.testing.assert_series_equal(nested.faces["fold"], swapped.faces["fold"])
    changed = nested.faces["label"] != swapped.faces["label"]
    pd.testing.assert_series_equal(changed, nested.faces["fold"] == 0, check_names=False)
    for model, unit in nested.units.items():
        other = swapped.units[model]
        assert other.nested[0] == unit.nested[0]
        for table, column in (("metrics", "threshold"), ("predictions", "score")):
            one, two = (getattr(u, table).query("data == 'nested'") for u in (unit, other))
            mine = one["fold"] == 0
            pd.testing.assert_series_equal(one[column][mine], two[column][mine])
            assert (one[column] != two[column])[~mine].any()


def test_what_a_detector_gets_is_the_same_with_nested_figures_beside_it(nested, plain_home):
    plain = read_run(plain_home / "out")
    for model, unit in nested.units.items():
        other = plain.units[model]
        assert (unit.best, unit.calibration) == (other.best, other.calibration)
        for level, rules in unit.deploy.items():
            assert rules["f1"] == other.deploy[level]["f1"]
        own = unit.predictions.query("data != 'nested'")
        pd.testing.assert_frame_equal(own, other.predictions)
        assert len(unit.nested) == 3
        assert other.nested is None


def test_what_is_inside_a_fold_is_refused_before_features_are_computed(
    tiny, machine, forbid, tmp_path, monkeypatch
):
    forbid(runner, "compute_features")
    forbid(runner, "audit_faces")
    monkeypatch.setattr(find, "nested_folds", lambda folds, y: {})  # the clips alone do not show it
    monkeypatch.setattr(runner, "identity_folds", lambda *rows, **how: [])
    with pytest.raises(RequestError, match="at least 3 folds to choose inside each; got 0"):
        run(tiny(nested="true"), machine=machine, out=tmp_path / "out")


def test_two_folds_are_refused_before_anything_is_read(tiny, machine, forbid, tmp_path):
    forbid(runner, "make_request")
    with pytest.raises(RequestError, match="at least 3 folds to choose inside each; got 2"):
        run(tiny(nested="true", folds=2), machine=machine, out=tmp_path / "out")


def test_a_split_that_is_given_is_not_nested(official):
    assert official[0].suite.nested
    for unit in official[0].units.values():
        assert unit.nested is None
        assert set(unit.predictions["data"]) == {"validation", "test"}


def test_the_optimism_of_a_nested_run_is_flat_less_nested(nested):
    frame = optimism_table(nested).frame
    assert len(frame) > 0
    better = frame["metric"].map(lambda metric: METRICS[metric].better)
    np.testing.assert_allclose(frame["optimism"], better * (frame["flat"] - frame["nested"]))
