import inspect

import pandas as pd
import pytest

from extract.datasets.registry import DATASETS, read_dataset, recognise
from extract.errors import RequestError
from extract.manifest import OPTIONAL, REQUIRED, read_manifest, write_manifest

TREES = {
    "faceforensics": ("Deepfakes/071_054.mp4", "original/071.mp4"),
    "celebdf": ("Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4"),
    "dfdc": ("dfdc_train_part_0/a.mp4", "dfdc_train_part_0/b.mp4"),
    "folder": ("fake/b.mp4", "real/a.mp4"),
    "frames": ("train/fake/b/1.png", "train/real/a/1.png"),
    "crops": ("train/fake/b_000001.png", "train/real/a_000001.png"),
    "manifest": ("a.mp4", "b.mp4"),
    "combined": ("one/real/a.mp4", "one/fake/b.mp4"),
}
METADATA = '{"a.mp4": {"label": "REAL", "split": "train"}, "b.mp4": {"label": "FAKE", "original": "a.mp4"}}'


@pytest.fixture(params=list(DATASETS))
def name(request):
    return request.param


@pytest.fixture
def example(name, make):
    """An example of a data set; a new one needs one, too."""
    root = make(*TREES[name])
    if name == "dfdc":
        (root / "dfdc_train_part_0" / "metadata.json").write_text(METADATA)
    if name == "manifest":
        (root / "clips.csv").write_text("path,label\na.mp4,real\nb.mp4,fake\n")
        return root / "clips.csv"
    return root


def test_a_data_set_is_recognised_as_itself_only(name, example):
    assert [other for other in DATASETS if DATASETS[other].matches(example)] == [name]
    assert recognise(example) == name


def test_a_data_set_gives_a_manifest(name, example, tmp_path):
    found, manifest = read_dataset([example])
    assert found == name
    assert list(manifest.clips.columns[: len(REQUIRED + OPTIONAL)]) == [*REQUIRED, *OPTIONAL]
    assert sorted(manifest.clips["label"]) == [0, 1]
    assert set(manifest.skipped["outcome"]) <= {"skipped", "missing"}
    assert all(isinstance(note, str) and note.endswith(".") for note in manifest.notes)
    for ending in ("csv", "parquet"):
        write_manifest(manifest, tmp_path / f"again.{ending}")
        pd.testing.assert_frame_equal(read_manifest(tmp_path / f"again.{ending}").clips, manifest.clips)


def test_identities_are_named_with_their_data_set(name, example):
    clips = read_dataset([example])[1].clips
    if name in ("faceforensics", "celebdf", "dfdc"):
        assert clips["identity"].str.startswith(f"{name}/").all()
        assert clips["dataset"].str.startswith(name).all()


def test_reading_by_name_needs_no_recognising(name, example, monkeypatch):
    monkeypatch.setattr("extract.datasets.registry.recognise", None if name != "combined" else recognise)
    found, manifest = read_dataset([example], name=name)
    assert found == name
    assert len(manifest.clips) == 2


def test_hidden_files_are_ignored(name, example):
    (example if example.is_dir() else example.parent).joinpath(".DS_Store").write_bytes(b"x")
    assert "skipped" not in set(read_dataset([example])[1].skipped["outcome"])


def test_an_empty_folder_is_refused(name, tmp_path):
    with pytest.raises(RequestError, match=r"Expected .*(Check|Add)"):
        DATASETS[name].read(tmp_path)


def test_a_missing_folder_is_refused(name, tmp_path):
    with pytest.raises(RequestError, match=r"does not exist\. Check the path"):
        DATASETS[name].read(tmp_path / "nowhere")
    assert not DATASETS[name].matches(tmp_path / "nowhere")


def test_a_file_is_refused(name, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(RequestError):
        DATASETS[name].read(tmp_path / "a.mp4")
    assert not DATASETS[name].matches(tmp_path / "a.mp4")


def test_the_options_are_the_keywords_of_reading(name):
    keywords = {
        parameter.name
        for parameter in inspect.signature(DATASETS[name].read).parameters.values()
        if parameter.kind == parameter.KEYWORD_ONLY
    }
    assert name == "combined" or keywords == set(DATASETS[name].options)
    assert DATASETS[name].layout


def test_an_option_that_a_data_set_does_not_take_is_refused(name, example):
    member = "folder" if name == "combined" else name
    takes = " and ".join(sorted(DATASETS[member].options)) or "no options"
    with pytest.raises(
        RequestError, match=rf"Expected an option of {member}, which takes {takes}; got colour\."
    ):
        read_dataset([example], name=name, options={"colour": "red"})
    with pytest.raises(RequestError, match=rf"Expected an option of {name}, .*got colour"):
        recognise(example, ["colour"])


def test_only_crops_are_crops():
    assert [name for name in DATASETS if DATASETS[name].crops] == ["crops"]


def test_an_unknown_layout_is_refused_with_those_that_are_known(make):
    with pytest.raises(RequestError, match="Expected a known layout in ") as error:
        recognise(make("some/thing.mp4"))
    assert all(name in str(error.value) for name in DATASETS)


def test_an_unknown_name_is_refused_with_the_nearest(make):
    with pytest.raises(RequestError, match=r"known data set; got 'celeb'\. Did you mean 'celebdf'"):
        read_dataset([make("real/a.mp4")], name="celeb")


def test_a_path_that_does_not_exist_is_not_recognised(tmp_path):
    with pytest.raises(RequestError, match=r"nowhere, which does not exist\. Check the path"):
        recognise(tmp_path / "nowhere")


def test_nothing_to_read_is_refused():
    with pytest.raises(RequestError, match="Expected at least one folder or manifest"):
        read_dataset([])


def test_two_matches_ask_for_the_name(make):
    root = make("Celeb-real/id0_0000.mp4", "real/a.mp4", "fake/b.mp4")
    with pytest.raises(
        RequestError, match=r"matches celebdf and folder\. Pass --dataset celebdf or --dataset "
    ):
        read_dataset([root])
    assert recognise(root, ["clip"]) == "folder"
    assert read_dataset([root], name="folder")[0] == "folder"


def test_a_name_for_several_roots_holds_for_each(make):
    root = make(*(f"{home}/{half}/a/1.png" for home in ("one", "two") for half in ("real", "fake")))
    name, manifest = read_dataset([root / "one", root / "two"], name="frames")
    assert name == "combined"
    assert manifest.clips["clip"].nunique() == 4
