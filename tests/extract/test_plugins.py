import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from extract.errors import RequestError
from extract.extractor_settings import ExtractorSettings, is_plugin_file
from extract.extractors import (
    Extractor,
    check_extractor,
    features_key,
    list_extractors,
    load_extractor,
    title_of,
    weights_of,
)
from extract.faces import FaceSettings, faces_key
from extract.manifest import make_manifest
from extract.pipeline import find_faces, identify, load_features
from extract.plugins import GROUP, installed_plugins, plugin_function
from extract.weights import WeightSettings

PLUGIN = '''
"""Mean and spread of each colour, as features."""

import hashlib

import numpy as np


class Colours:
    name = "colours"
    dim = 6
    fingerprint = hashlib.sha256(b"colours 1").hexdigest()

    def __call__(self, faces):
        flat = faces.reshape(len(faces), -1, 3) / 255
        return np.hstack([flat.mean(axis=1), flat.std(axis=1)]).astype(np.float32)


def extractor():
    return Colours()
'''


@pytest.fixture
def write(tmp_path):
    def write(text, name="colours.py"):
        path = tmp_path / "plug ins" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write


def load(name):
    return load_extractor(ExtractorSettings(name=str(name)), weights=WeightSettings())


# -- files ---------------------------------------------------------------------------------------------------


def test_a_plugin_of_twenty_lines_gives_features(write, store, tmp_path, save_image):
    assert len(PLUGIN.strip().splitlines()) <= 20
    colours = {"real": (250, 10, 20), "fake": (10, 20, 250)}
    for name, colour in colours.items():
        save_image(tmp_path / f"{name}.png", np.full((24, 24, 3), colour, np.uint8))
    table = [{"path": f"{name}.png", "label": name} for name in colours]
    settings = FaceSettings(detector="none", size=16)
    clips = identify(make_manifest(pd.DataFrame(table), base=tmp_path), store)
    rows, _ = find_faces(clips, settings, store=store)
    features = load_features(rows, load(write(PLUGIN)), store=store, faces=faces_key(settings))
    expected = np.array([[*colours["real"], 0, 0, 0], [*colours["fake"], 0, 0, 0]]) / 255
    np.testing.assert_allclose(features.X, expected, atol=1e-5)


def test_a_plugin_is_an_extractor_with_defaults_where_it_does_not_say(write):
    extractor = load(write(PLUGIN))
    assert isinstance(extractor, Extractor)
    assert weights_of(extractor) == ("plugin", "plugin")
    assert title_of(extractor) == "colours"
    assert features_key(extractor, "f") == f"colours-{extractor.fingerprint[:16]}-plugin-own/f"


def test_a_plugin_may_say_more(write):
    more = 'weights = "directory"\n    weights_source = "my.pth"\n    title = "Colours!"\n    dim = 6'
    extractor = load(write(PLUGIN.replace("dim = 6", more)))
    assert weights_of(extractor) == ("directory", "my.pth")
    assert title_of(extractor) == "Colours!"


def test_a_function_of_another_name(write):
    path = write(PLUGIN.replace("def extractor", "def make"))
    assert load(f"{path}:make").name == "colours"


def test_a_class_is_a_function_that_makes_an_extractor(write):
    assert load(f"{write(PLUGIN)}:Colours").name == "colours"


def test_a_plugin_with_dataclasses(write):
    path = write("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n" + PLUGIN)
    assert load(path).name == "colours"


def test_a_plugin_with_dataclasses_and_postponed_annotations(write):
    path = write(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: int = 1\n" + PLUGIN
    )
    assert load(path).name == "colours"


def test_two_plugins_of_one_file_name_are_two(write):
    first = write(PLUGIN)
    second = write(PLUGIN.replace("colours", "other"), "sub.py")
    (first.parent / "deep").mkdir()
    second = second.rename(first.parent / "deep" / "colours.py")
    assert [load(path).name for path in (first, second, first)] == ["colours", "other", "colours"]


def test_a_changed_plugin_is_read_again(write):
    assert load(write(PLUGIN)).dim == 6
    assert load(write(PLUGIN.replace("dim = 6", "dim = 66"))).dim == 66


@pytest.mark.parametrize(
    "refuse", [lambda s: check_extractor(s), lambda s: load(s.name)], ids=["check", "load"]
)
def test_a_missing_file_is_refused(tmp_path, refuse):
    settings = ExtractorSettings(name=str(tmp_path / "nothing.py"))
    with pytest.raises(RequestError, match=r"Expected a plugin file; .*nothing\.py does not exist"):
        refuse(settings)


@pytest.mark.parametrize(
    "refuse", [lambda s: check_extractor(s), lambda s: load(s.name)], ids=["check", "load"]
)
@pytest.mark.parametrize(
    ("text", "suffix", "function"),
    [
        ("x = 1", "", "extractor"),
        (PLUGIN, ":make", "make"),
        ("extractor = 3", "", "extractor"),
    ],
    ids=["no function", "no function of that name", "not a function"],
)
def test_a_missing_function_is_refused(write, refuse, text, suffix, function):
    settings = ExtractorSettings(name=f"{write(text)}{suffix}")
    with pytest.raises(RequestError, match=rf"Expected a function {function}\(\) in .*colours\.py"):
        refuse(settings)


LACKS = {
    "name": ('name = "colours"', "pass", "lacks name"),
    "dim": ("dim = 6", 'dim = "six"', "lacks dim"),
    "fingerprint": ("fingerprint = hashlib", "finger = hashlib", "lacks fingerprint"),
    "call": ("def __call__", "def call", "lacks __call__"),
    "two": ("dim = 6\n    fingerprint", "finger", "lacks dim, fingerprint"),
}


@pytest.mark.parametrize(("old", "new", "message"), LACKS.values(), ids=LACKS)
def test_an_object_that_lacks_something_is_refused(write, old, new, message):
    assert old in PLUGIN
    with pytest.raises(
        RequestError, match=rf"Expected an object with name, dim.*Colours {message}\. Add them"
    ):
        load(write(PLUGIN.replace(old, new)))


@pytest.mark.parametrize(
    ("name", "is_file"),
    [
        ("mine.py", True),
        ("deep/mine.py:make", True),
        ("mobilenetv2", False),
        ("timm:resnet50", False),
        ("mine.pyc", False),
    ],
)
def test_names_of_files_are_told_from_others(name, is_file):
    assert is_plugin_file(name) is is_file


def test_the_function_itself_is_returned_unrun(write):
    made = plugin_function(str(write(PLUGIN.replace("return Colours()", "raise RuntimeError('ran')"))))
    with pytest.raises(RuntimeError, match="ran"):
        made()


# -- entry points --------------------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with an entry point on the import path."""

    def install(name, value="colour_plugin:extractor", text=PLUGIN):
        site = tmp_path / "site"
        info = site / "colour_plugin-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "colour_plugin.py").write_text(text, encoding="utf-8")
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colour-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, "colour_plugin", raising=False)

    return install


def test_an_installed_plugin_is_found_by_its_entry_point(install):
    install("colours")
    assert set(installed_plugins()) == {"colours"}
    check_extractor(ExtractorSettings(name="colours"))
    assert load("colours").name == "colours"
    assert list_extractors(None)["colours"] == ("plugin colour_plugin:extractor", "plugin: its own")


def test_an_installed_plugin_that_is_none_is_refused(install):
    install("colours", text=PLUGIN.replace("dim = 6", "pass"))
    with pytest.raises(RequestError, match=r"from colours; Colours lacks dim"):
        load("colours")


@pytest.mark.parametrize("name", ["mobilenetv2", "reactnet_a"])
def test_an_installed_plugin_with_a_built_in_name_is_refused(install, name):
    install(name)
    with pytest.raises(RequestError, match=rf"Expected new names in the entry points {GROUP}; got '{name}'"):
        load("mobilenetv2")


def test_without_plugins_there_are_none():
    assert installed_plugins() == {}
