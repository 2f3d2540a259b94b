"""What the README shows works as shown."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer

import run_benchmark
from benchmarks.predict import Prediction
from benchmarks.suite import read_suite
from extract.errors import RequestError
from extract.extractor_settings import ExtractorSettings
from extract.extractors import load_extractor
from extract.manifest import read_manifest
from extract.weights import WeightSettings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    python run_benchmark\.py(.*)$", README, flags=re.MULTILINE)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def block(language, start=""):
    (text,) = (text for text in blocks(language) if text.startswith(start))
    return text


@pytest.fixture
def shown(tmp_path):
    (tmp_path / "my_extractor.py").write_text(block("python", "# my_extractor.py"))
    (tmp_path / "my.toml").write_text(block("toml"))
    (tmp_path / "clips.csv").write_text(block("csv"))
    return tmp_path


def test_the_commands_are_there():
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line):
    words = shlex.split(line, comments=True) or ["run"]
    command = typer.main.get_command(run_benchmark.app).commands[words[0]]
    command.make_context(words[0], words[1:])


def test_the_suite_with_every_key_is_valid(shown):
    suite = read_suite(str(shown / "my.toml"))
    assert suite.extractors[-1].name == str(shown / "my_extractor.py")
    assert suite.classifiers["random_forest"]["max_depth"] == [None, 10]


def test_the_plugin_gives_features(shown):
    extractor = load_extractor(
        ExtractorSettings(name=str(shown / "my_extractor.py")), weights=WeightSettings()
    )
    faces = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), np.uint8)
    features = extractor(faces)
    assert features.shape == (3, 64)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(extractor(faces[1:2])[0], features[1])


def test_the_manifest_has_columns_that_are_read(shown):
    with pytest.raises(RequestError, match=r"anna_01\.mp4"):  # only the files are missing
        read_manifest(shown / "clips.csv")


def test_a_detector_is_used_from_python_as_shown(tmp_path, monkeypatch, capsys):
    seen = []

    class Stub:
        @staticmethod
        def load(path, *, digest):
            seen.append(path)
            return Stub()

        def predict(self, files):
            return [Prediction(name, "real", 0.5, 0.1, 1.0, ()) for name in files]

    monkeypatch.setattr("benchmarks.detector.Detector", Stub)
    exec(block("python", "from benchmarks.detector"), {})
    assert seen == ["detector"]
    assert capsys.readouterr().out.splitlines()[0] == "clip.mp4 real 0.5 0.1"


def test_every_file_that_is_named_exists():
    for name in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / name).is_file(), name
