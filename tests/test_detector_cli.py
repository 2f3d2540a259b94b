"""Exporting and predicting as users meet them."""

import json
import shutil

import cv2
import numpy as np
import pytest

from benchmarks.detector_files import MAIN, file_digest

NAMES = {"extractor": "timm_test_resnet", "classifier": "logistic_regression"}


@pytest.fixture(scope="module")
def results(finished):
    """The results folder of the finished run."""
    (folder,) = (finished / "results").glob("tiny-*")
    return folder


@pytest.fixture(scope="module")
def clips(finished):
    """The generated clips of the finished run: real/ and fake/."""
    (folder,) = (finished / "cache" / "synthetic").iterdir()
    return folder


@pytest.fixture
def export(cli, results, finished):
    """Export a detector of the finished run; returns exit status, output and error."""

    def call(*words, out="detector"):
        names = [word for key, value in NAMES.items() for word in (f"--{key}", value)]
        return cli("export", results, "--out", out, "--cache", finished / "cache", *names, *words)

    return call


def digest_in(out):
    return next(line.split()[1] for line in out.splitlines() if line.startswith("Digest:"))


def test_from_a_run_to_a_verdict(export, cli, clips, tmp_path):
    status, out, err = export("--calibration", "platt", "--rule", "youden")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == (
        "Detector: timm_test_resnet with logistic_regression, rule youden at video level"
    )
    digest = digest_in(out)
    assert digest == file_digest((tmp_path / "detector" / MAIN).read_bytes())
    assert "RANDOM WEIGHTS" in (tmp_path / "detector" / "card.md").read_text()
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / "noise.png"), noise)
    real = clips / "real" / "person000_0.mp4"
    status, out, err = cli(
        "predict", "detector", real, "broken.jpg", "noise.png", clips / "fake", "--digest", digest
    )
    assert status == 0
    assert err.startswith("warning: RANDOM WEIGHTS")
    lines = out.splitlines()
    assert len(lines) == 3 + 16
    assert lines[0].split()[0] in ("real", "fake")
    assert str(real) in lines[0]
    assert "probability 0." in lines[0]
    assert "2 faces" in lines[0]
    assert lines[1].startswith("unreadable")
    assert lines[1].endswith("[E_CLIP_UNREADABLE])")
    assert lines[2].startswith("no-face")
    assert lines[2].endswith("[E_NO_FACE])")


def test_json_lines_with_every_face_and_its_picture(export, cli, clips, tmp_path):
    export("--level", "image", "--rule", "default", "--calibration", "none")
    files = [clips / "real" / f"person00{n}_0.mp4" for n in range(2)]
    status, out, _ = cli("predict", "detector", *files, "--json", "--frames", "pictures")
    assert status == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [line["name"] for line in found] == [str(file) for file in files]
    for line in found:
        assert line["threshold"] == 0
        assert line["verdict"] == ("fake" if line["score"] >= 0 else "real")
        assert line["probability"] is None
        assert "chosen for single ones" in line["note"]
        assert len(line["faces"]) == len(line["pictures"]) == 2
        assert line["score"] == pytest.approx(np.mean([face["score"] for face in line["faces"]]))
        for face, picture in zip(line["faces"], line["pictures"], strict=True):
            assert face["confidence"] > 0.9
            assert 0 < face["size"] < 160
            assert face["sharpness"] > 0
            assert cv2.imread(str(tmp_path / picture)).shape == (160, 160, 3)


def test_every_face_has_a_line_beside_its_picture(export, cli, clips, tmp_path):
    export()
    _, out, _ = cli("predict", "detector", clips / "real" / "person000_0.mp4", "--frames", "pictures")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["frame", "0"], ["frame", "2"]]
    assert len(list((tmp_path / "pictures").iterdir())) == 2


def test_a_file_in_the_place_of_the_pictures_folder_is_refused_first(cli, tmp_path):
    (tmp_path / "taken").touch()
    status, out, err = cli("predict", "detector", "clip.mp4", "--frames", "taken")
    assert (status, out) == (2, "")
    assert "[E_FOLDER_TAKEN]" in err


def test_without_names_the_best_of_the_run_is_exported(cli, results, finished):
    status, out, _ = cli("export", results, "--out", "best", "--cache", finished / "cache")
    assert status == 0
    told = (finished / "stdout.txt").read_text()
    assert "MobileNetV2 with" in told or "test_resnet with" in told
    assert out.startswith("Detector: ")


def test_a_refit_is_said_to_be_approximate(export, cli, clips):
    status, out, _ = export("--refit")
    assert status == 0
    assert "approximate" in out
    _, _, err = cli("predict", "detector", clips / "real" / "person000_0.mp4")
    assert "approximate" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rule", "youdn"], "Did you mean 'youden'"),
        (["--level", "clip"], "Expected a known level"),
        (["--calibration", "plat"], "Did you mean 'platt'"),
        (["--classifier", "svm"], "Did you mean 'svc'"),
        (["--extractor", "mobilenet"], "Did you mean 'mobilenetv2'"),
    ],
)
def test_wrong_words_are_refused_in_a_line(export, tmp_path, words, message):
    status, _, err = export(*words)
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "detector").exists()


def test_another_cache_is_filled_from_the_clips(cli, results, export, tmp_path):
    _, out, _ = export()
    names = [word for key, value in NAMES.items() for word in (f"--{key}", value)]
    status, again, _ = cli("export", results, "--out", "again", *names)
    assert status == 0
    assert digest_in(again) == digest_in(out)
    assert (tmp_path / "cache" / "faces").is_dir()


def test_a_damaged_or_other_detector_is_refused_in_a_line(export, cli, clips, tmp_path):
    digest = digest_in(export()[1])
    clip = clips / "real" / "person000_0.mp4"
    other = digest_in(export("--rule", "f1", "--refit", out="other")[1])
    status, out, err = cli("predict", "other", clip, "--digest", digest)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert other in err
    shutil.copy(
        tmp_path / "other" / "models" / "fold-0.skops", tmp_path / "detector" / "models" / "fold-0.skops"
    )
    status, out, err = cli("predict", "detector", clip)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "fold-0.skops with other contents" in err
    assert cli("predict", "nowhere", clip)[0] == 2


def test_folders_without_pictures_and_wrong_plugins_are_refused(export, cli, clips, tmp_path):
    export()
    (tmp_path / "none").mkdir()
    status, _, err = cli("predict", "detector", "none")
    assert status == 2
    assert "there are none" in err
    status, _, err = cli("predict", "detector", clips, "--extractor", "mobilenetv2")
    assert status == 2
    assert "Expected a plugin, FILE.py" in err


PLUGIN = """
import numpy as np

class Colours:
    name, title, dim, fingerprint = "colours", "Colours", 3, "colours 1"

    def __call__(self, faces):
        return faces.reshape(len(faces), -1, 3).mean(1).astype(np.float32)

def extractor():
    return Colours()
"""
QUICK = """
name = "quick"
protocol = "component"
folds = 2
nested = false
extractors = ["colours.py"]
[faces]
detector = "none"
frames = 1
size = 32
[classifiers.logistic_regression]
C = [1.0]
"""


def test_a_detector_with_a_plugin_asks_for_its_file(cli, clips, tmp_path):
    (tmp_path / "colours.py").write_text(PLUGIN)
    (tmp_path / "quick.toml").write_text(QUICK)
    assert cli("run", "--suite", "quick.toml", "--manifest", clips / "clips.csv", "--out", "out")[0] == 0
    assert cli("export", "out", "--out", "detector")[0] == 0
    clip = clips / "real" / "person000_0.mp4"
    status, _, err = cli("predict", "detector", clip)
    assert status == 2
    assert "the plugin colours.py" in err
    assert "--extractor FILE.py" in err
    status, out, _ = cli("predict", "detector", clip, "--extractor", "colours.py")
    assert status == 0
    assert "1 face " in out
