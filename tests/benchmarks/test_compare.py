import json
import shutil

import pandas as pd
import pytest

from benchmarks import compare as module
from benchmarks.compare import COMPARISONS, compare, is_comparison, read_comparison
from benchmarks.machine import Machine
from benchmarks.results import purge_results, unit_folder
from benchmarks.runner import run
from classify.comparisons import STEPS
from classify.metrics import SELECTION
from extract.errors import RequestError
from extract.store import Store

DISJOINT = ["attacks", "datasets", "new-attack"]
QUICK = {"logistic_regression": {"C": [1.0]}}


class Interrupted(Exception):
    """Stands for whatever ends a comparison in the middle."""


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def bytes_of(folder):
    """Return every file's bytes by its path below `folder`."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def trials_of(folder):
    """Return the trials without what another run measures otherwise."""
    return read_comparison(folder).trials.drop(columns="seconds")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder for the comparisons of this module, whose cache they share."""
    return tmp_path_factory.mktemp("comparisons")


@pytest.fixture(scope="module")
def suite_of(write_suite, swaps, home):
    """Make the tiny suite over the swaps, under protocol component, with one configuration of the forest."""

    def make(**keys):
        suite = write_suite(home, **{"data": swaps, "protocol": "component", **keys})
        grids = {**suite.classifiers, "random_forest": {"n_estimators": [2]}}
        return suite.model_copy(update={"classifiers": grids})

    return make


@pytest.fixture(scope="module")
def carry_out(home, suite_of):
    """Carry out a comparison of one repeat in a folder of its name; returns the folder."""

    def carry_out(name, *, out, **options):
        machine = Machine(Store(home / "cache"), say=options.pop("say", print))
        options = {"suite": suite_of(), "repeats": 1, **options}
        return compare(name, options.pop("suite"), machine=machine, out=out, **options)

    return carry_out


@pytest.fixture(scope="module", params=list(COMPARISONS))
def compared(request, home, carry_out):
    """Return the folder of each finished comparison."""
    return carry_out(request.param, out=home / request.param)


@pytest.fixture(scope="module")
def leaked(home, carry_out):
    return carry_out("leakage", out=home / "leakage")


@pytest.fixture
def computed(monkeypatch):
    """Return the classifiers whose trials were run, in order; `limit` ends the comparison before the next."""
    real, seen = module.run_tasks, []

    def run_tasks(*args, **options):
        if len(seen) == run_tasks.limit:
            raise Interrupted
        seen.append(options["classifier"])
        return real(*args, **options)

    run_tasks.limit = None
    monkeypatch.setattr(module, "run_tasks", run_tasks)
    return run_tasks, seen


# -- every comparison ------------------------------------------------------------------------------------------


def test_it_reads_back_with_its_name_and_every_model(compared):
    comparison = read_comparison(compared)
    models = comparison.trials[["extractor", "classifier"]].drop_duplicates().to_numpy().tolist()
    assert is_comparison(compared)
    assert comparison.name == compared.name
    assert models == [["pixels", "logistic_regression"], ["pixels", "random_forest"]]
    assert len(comparison.faces) == 120


def test_every_trial_has_its_figures_at_both_levels(compared):
    trials = read_comparison(compared).trials
    known = {"test", "level", "reals", "fakes", *SELECTION, "fpr", "train_reals", "train_fakes", "seconds"}
    assert known | {"parameters", "converged"} <= set(trials)
    settings = [
        c for c in ("protocol", "trained_on", "attack", "clips", "draw", "repeat", "fold") if c in trials
    ]
    levels = trials.groupby([*settings, "extractor", "classifier", "test"])["level"].agg(list)
    assert levels.map(lambda level: level == ["image", "video"]).all()
    assert trials["auc"].dropna().between(0, 1).all()
    assert (trials["seconds"] > 0).all()


def test_its_folds_are_audited(compared):
    comparison = read_comparison(compared)
    assert set(comparison.audit["protocol"]) == (set(STEPS) if compared.name == "leakage" else {"component"})
    others = comparison.audit[~comparison.audit["protocol"].isin(["frame", "clip", "target"])]
    assert (others["shared_people"] == 0).all()
    assert comparison.faces["fold"].nunique() == 3


def test_a_second_call_computes_nothing(compared, carry_out, monkeypatch):
    for name in ("find_all_faces", "load_features", "run_tasks", "write_common"):
        monkeypatch.setattr(module, name, None)
    before, said = bytes_of(compared), []
    assert carry_out(compared.name, out=compared, say=said.append) == compared
    assert said[-1] == "Finished before: nothing to compute."
    assert bytes_of(compared) == before


def test_a_unit_that_is_missing_is_computed_alone(compared, carry_out, computed, tmp_path):
    folder = shutil.copytree(compared, tmp_path / "copy")
    shutil.rmtree(unit_folder(folder, "pixels", "random_forest"))
    (folder / "DONE").unlink()
    carry_out(compared.name, out=folder)
    assert computed[1] == ["random_forest"]
    pd.testing.assert_frame_equal(trials_of(folder), trials_of(compared))


def test_the_same_trials_come_out_again_elsewhere(compared, suite_of, tmp_path):
    machine = Machine(Store(tmp_path / "cache"))
    again = compare(compared.name, suite_of(), machine=machine, out=tmp_path / "out", repeats=1)
    pd.testing.assert_frame_equal(trials_of(again), trials_of(compared))
    ours, theirs = bytes_of(compared), bytes_of(again)
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} <= {
        name for name in ours if name.endswith("trials.parquet")
    }


def test_the_results_hold_what_is_promised_and_no_other(compared):
    common = [
        "run.json",
        "suite.toml",
        "environment.json",
        "extractors.json",
        "counts.json",
        "comparison.json",
    ]
    tables = ["faces.parquet", "audit.csv", "skipped.csv"]
    units = [f"units/pixels/{c}/trials.parquet" for c in ("logistic_regression", "random_forest")]
    assert sorted(bytes_of(compared)) == sorted([*common, *tables, *units, "DONE", ".lock"])


# -- going on --------------------------------------------------------------------------------------------------


def test_an_interrupted_comparison_goes_on_with_the_missing_unit(home, carry_out, computed, tmp_path):
    run_tasks, seen = computed
    run_tasks.limit = 1
    with pytest.raises(Interrupted):
        carry_out("datasets", out=tmp_path / "out")
    with pytest.raises(RequestError, match="has no DONE mark"):
        read_comparison(tmp_path / "out")
    run_tasks.limit = None
    carry_out("datasets", out=tmp_path / "out")
    assert seen == ["logistic_regression", "random_forest"]
    whole = carry_out("datasets", out=home / "datasets")
    pd.testing.assert_frame_equal(trials_of(tmp_path / "out"), trials_of(whole))


@pytest.mark.usefixtures("leaked")
def test_a_comparison_of_one_attack_reuses_the_features_of_others(suite_of, carry_out, monkeypatch, tmp_path):
    monkeypatch.setattr(Store, "write_faces", None)
    monkeypatch.setattr(Store, "write_features", None)
    suite = suite_of().model_copy(update={"classifiers": QUICK})
    trials = read_comparison(
        carry_out("new-attack", out=tmp_path / "out", suite=suite, attacks=["swap"])
    ).trials
    assert set(trials["attack"]) == {"swap"}


def test_another_comparison_in_the_same_folder_is_refused(leaked, carry_out):
    before = bytes_of(leaked)
    for name, change in {"attacks": {}, "leakage": {"repeats": 2}}.items():
        with pytest.raises(RequestError, match="holds a run of other data, settings"):
            carry_out(name, out=leaked, **change)
    assert bytes_of(leaked) == before


def test_the_attacks_to_hold_out_are_part_of_the_request(home, carry_out):
    folder = carry_out("new-attack", out=home / "new-attack")
    with pytest.raises(RequestError, match="holds a run of other data, settings"):
        carry_out("new-attack", out=folder, attacks=["swap"])


def test_the_default_folder_is_named_after_suite_comparison_and_key(home, suite_of, tmp_path):
    folder = compare(
        "attacks", suite_of(), machine=Machine(Store(home / "cache")), results=tmp_path, repeats=1
    )
    assert folder == tmp_path / f"tiny-attacks-{read(folder / 'run.json')['key'][:8]}"


# -- what each is about ----------------------------------------------------------------------------------------


def test_leakage_runs_under_strict_whatever_the_suite_says(leaked, suite_of, carry_out):
    said = []
    assert read_comparison(leaked).suite.protocol == "strict"
    carry_out("leakage", out=leaked, suite=suite_of(protocol="official"), say=said.append)
    assert said[-1] == "Finished before: nothing to compute."


def test_leakage_compares_every_step_on_the_same_faces(leaked):
    comparison = read_comparison(leaked)
    image = comparison.trials.query("level == 'image' and classifier == 'random_forest'")
    assert image["protocol"].unique().tolist() == list(STEPS)
    assert image[["train_reals", "train_fakes"]].drop_duplicates().shape == (1, 2)
    tested = image.groupby("protocol")[["reals", "fakes"]].sum().drop_duplicates().to_numpy().tolist()
    strict = comparison.faces[comparison.faces["fold"] >= 0]
    assert tested == [[(strict["label"] == 0).sum(), (strict["label"] == 1).sum()]]


def test_leakage_leaves_fakes_of_unknown_source_out_on_request(suite_of, swaps, carry_out, tmp_path):
    clips = pd.read_csv(swaps, keep_default_na=False)
    clips["path"] = [str(swaps.parent / path) for path in clips["path"]]
    clips.loc[clips["clip"] == "fake/swap-p00", "source_identity"] = ""
    clips.to_csv(tmp_path / "some.csv", index=False)
    suite = suite_of(data=tmp_path / "some.csv")
    with pytest.raises(RequestError, match="1 fake clips name none"):
        carry_out("leakage", out=tmp_path / "out", suite=suite)
    suite = suite_of(data=tmp_path / "some.csv", top='unknown_sources = "leave_out"')
    suite = suite.model_copy(update={"classifiers": QUICK})
    comparison = read_comparison(carry_out("leakage", out=tmp_path / "out", suite=suite))
    assert "fake/swap-p00" not in set(comparison.faces["clip"])
    assert len(comparison.skipped) == 2


@pytest.mark.parametrize(("name", "values"), [("attacks", ["blend", "swap"]), ("datasets", ["one", "two"])])
def test_transfer_trains_on_all_and_on_one_and_tests_on_each(name, values, home, carry_out):
    trials = read_comparison(carry_out(name, out=home / name)).trials
    assert set(trials["trained_on"]) == {"all", *(f"only {value}" for value in values)}
    assert set(trials["test"]) == set(values)


def test_more_of_the_new_attack_is_added_step_by_step(home, carry_out):
    trials = read_comparison(carry_out("new-attack", out=home / "new-attack")).trials
    assert set(trials["attack"]) == {"blend", "swap"}
    one = trials.query(
        "attack == 'blend' and fold == 0 and level == 'image' and classifier == 'random_forest'"
    )
    assert one["clips"].tolist()[:3] == [0, 1, 5]
    assert (one["train_fakes"] - one["train_fakes"].iloc[0]).tolist()[:3] == [0, 2, 10]
    assert one["train_reals"].drop_duplicates().shape == (1,)


def test_a_fold_that_trains_on_no_other_attack_is_left_out(changed, carry_out, tmp_path):
    suite = changed(keep="attack != 'swap' or identity in ['p00', 'p01', 'p02', 'p03']")
    suite = suite.model_copy(update={"classifiers": QUICK})
    trials = read_comparison(
        carry_out("new-attack", out=tmp_path / "out", suite=suite, attacks=["blend"])
    ).trials
    assert (trials["train_fakes"] > 0).all()
    assert trials["fold"].nunique() == 2


def test_external_data_plays_no_part(home, carry_out, suite_of, elsewhere):
    said = []
    carry_out("attacks", out=home / "attacks")
    carry_out("attacks", out=home / "attacks", suite=suite_of(external=elsewhere), say=said.append)
    assert said[-1] == "Finished before: nothing to compute."


# -- wrong requests ----------------------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path, suite_of):
    """Return the message of a refusal, which came before a file was hashed or a result was written."""

    def refused(name, *, suite=None, **options):
        machine = Machine(Store(tmp_path / "cache"))
        with pytest.raises(RequestError) as caught:
            compare(name, suite or suite_of(), machine=machine, out=tmp_path / "out", **options)
        assert not (tmp_path / "cache").exists()
        assert not (tmp_path / "out").exists()
        return caught.value.message

    return refused


def test_an_unknown_comparison_is_refused_with_the_nearest(refused):
    assert refused("leakges") == "Expected a known comparison; got 'leakges'. Did you mean 'leakage'?"


@pytest.mark.parametrize("protocol", ["clip", "frame", "official"])
@pytest.mark.parametrize("name", DISJOINT)
def test_a_protocol_that_shares_people_is_refused(name, protocol, refused, suite_of):
    message = refused(name, suite=suite_of(protocol=protocol))
    assert message.startswith(
        "Expected a protocol that keeps identities apart (target, component, strict); got "
    )


@pytest.mark.parametrize("name", ["leakage", "attacks", "datasets"])
def test_an_attack_for_another_comparison_is_refused(name, refused):
    assert refused(name, attacks=["blend"]).startswith("Expected --attack with new-attack only; got it with ")


def test_an_unknown_attack_is_refused_with_those_that_are_there(refused):
    message = refused("new-attack", attacks=["blend", "blnd"])
    assert message == "Expected an attack among blend, swap; got 'blnd'. Correct --attack."


@pytest.fixture
def changed(swaps, suite_of, tmp_path):
    """Make the suite over the swaps with other values in some columns."""

    def change(keep=None, **columns):
        clips = pd.read_csv(swaps, keep_default_na=False).assign(**columns)
        clips["path"] = [str(swaps.parent / path) for path in clips["path"]]
        clips = clips.query(keep) if keep else clips
        clips.to_csv(tmp_path / "changed.csv", index=False)
        return suite_of(data=tmp_path / "changed.csv")

    return change


@pytest.mark.parametrize(
    ("name", "column"), [("attacks", "attack"), ("new-attack", "attack"), ("datasets", "dataset")]
)
def test_data_that_name_fewer_than_two_are_refused(name, column, refused, changed):
    message = refused(name, suite=changed(**{column: "one"}))
    assert message.startswith(f"Expected at least two different values in column {column}")


def test_a_data_set_of_one_class_is_refused(refused, changed):
    suite = changed(keep="dataset == 'one' or label == 'fake'").model_copy(update={"folds": 2})
    assert "two has one class only" in refused("datasets", suite=suite)


def test_folds_that_are_impossible_are_refused(refused, suite_of):
    assert "for 6 folds (protocol component); got 5" in refused("attacks", suite=suite_of(folds=6))


def test_too_few_people_to_choose_parameters_on_are_refused(refused, changed):
    # Of three persons two are left to train on: no three folds exist inside.
    suite = changed(keep="identity in ['p00', 'p10', 'p20']").model_copy(update={"protocol": "target"})
    assert "for 3 folds (protocol target); got 2" in refused("attacks", suite=suite)


def test_a_folder_with_foreign_files_is_refused(carry_out, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RequestError, match="holds other files"):
        carry_out("attacks", out=tmp_path)


def test_the_folder_of_a_run_is_refused(home, suite_of, carry_out, tmp_path):
    suite = suite_of().model_copy(update={"classifiers": QUICK})
    folder = run(suite, machine=Machine(Store(home / "cache")), out=tmp_path / "out")
    assert not is_comparison(folder)
    with pytest.raises(RequestError, match="holds a run of other data"):
        carry_out("attacks", out=folder)


def test_purging_a_clip_leaves_a_comparison_that_reads(leaked, tmp_path):
    folder = shutil.copytree(leaked, tmp_path / "copy")
    face = read_comparison(folder).faces.iloc[0]
    assert purge_results(folder, [face["content"]], tmp_path / "unknown") == 1
    after = read_comparison(folder)
    assert len(after.faces) == 119
    assert len(after.trials) == len(read_comparison(leaked).trials)
