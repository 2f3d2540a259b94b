import csv
import shutil

import pytest

from extract.datasets.celebdf import names_v2, read_celebdf
from extract.datasets.registry import recognise
from extract.errors import RequestError

LIST = "List_of_testing_videos.txt"
THREE = ("Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4", "YouTube-real/00170.mp4")


@pytest.fixture(scope="module")
def names(shared):
    with shared("reference/celebdf/celeb_df_v2_videos.csv").open() as file:
        return {row["path"]: int(row["label"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def full(names, shared, tmp_path_factory):
    """The 6,529 names of Celeb-DF v2, with its list."""
    root = tmp_path_factory.mktemp("Celeb-DF-v2")
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(name.encode())
    shutil.copy(shared("reference/celebdf") / LIST, root)
    return root


def test_the_full_v2_tree(full, names):
    manifest = read_celebdf(full)
    clips = manifest.clips
    folders = clips["path"].str.removeprefix(f"{full}/").str.split("/").str[0]
    assert folders.value_counts().to_dict() == {
        "Celeb-synthesis": 5639,
        "Celeb-real": 590,
        "YouTube-real": 300,
    }
    labels = dict(zip(clips["path"].str.removeprefix(f"{full}/"), clips["label"], strict=True))
    assert labels == names
    test = clips[clips["split"] == "test"]
    assert (len(test), int((test["label"] == 0).sum()), int(test["label"].sum())) == (518, 178, 340)
    assert set(clips["split"]) == {"train", "test"}
    assert set(clips["dataset"]) == {"celebdf_v2"}
    celebrities = clips[folders != "YouTube-real"]
    assert celebrities["identity"].nunique() == 59
    assert set(celebrities["source_identity"]) - {""} <= set(celebrities["identity"])
    assert clips[folders == "YouTube-real"]["identity"].nunique() == 300
    assert manifest.skipped.empty
    assert manifest.notes == (
        "59 identities in Celeb-real and Celeb-synthesis; each of 300 YouTube-real clips counts as an identity of "
        "its own.",
    )


def test_the_full_v2_tree_is_recognised(full):
    assert recognise(full) == "celebdf"


def test_the_shipped_names_are_those_of_the_reference(names):
    assert names_v2() == set(names)


def test_files_missing_from_v2_are_named(full, tmp_path, left):
    root = tmp_path / "copy"
    shutil.copytree(full, root)
    (root / "Celeb-real" / "id0_0000.mp4").unlink()
    listed = (full / LIST).read_text().split()[1]
    (root / listed).unlink()
    manifest = read_celebdf(root)
    assert left(manifest, "missing") == {
        "copy/Celeb-real/id0_0000.mp4": "in the name list of Celeb-DF v2",
        f"copy/{listed}": f"in {LIST}",
    }
    assert f"Videos in {LIST} that are missing: 1, first {listed}." in manifest.notes


def test_people_are_target_and_source(make_celebdf, column):
    manifest = read_celebdf(make_celebdf(*THREE))
    assert column(manifest, "label") == dict(zip(THREE, (0, 1, 0), strict=True))
    assert column(manifest, "identity") == dict(
        zip(THREE, ("celebdf/id0", "celebdf/id0", "celebdf/youtube-00170"), strict=True)
    )
    assert column(manifest, "source_identity") == dict(zip(THREE, ("", "celebdf/id1", ""), strict=True))
    assert column(manifest, "attack") == dict(zip(THREE, ("", "Celeb-synthesis", ""), strict=True))


def test_without_a_list_version_and_split_are_not_known(make_celebdf):
    manifest = read_celebdf(make_celebdf(*THREE))
    assert set(manifest.clips["split"]) == {""}
    assert set(manifest.clips["dataset"]) == {"celebdf"}
    assert f"There is no {LIST}: the version and the official split are not known." in manifest.notes


def test_the_list_is_the_test_split(make_celebdf, column):
    manifest = read_celebdf(make_celebdf(*THREE, lines=["1 YouTube-real/00170.mp4", ""]))
    assert column(manifest, "split") == dict(zip(THREE, ("train", "train", "test"), strict=True))
    assert f"The version is not known: {LIST} has 1 lines (v2: 518, v1: 100)." in manifest.notes


def test_v1_shows_in_a_list_of_100(make_celebdf, left):
    lines = [f"1 YouTube-real/{number:05d}.mp4" for number in range(170, 270)]
    manifest = read_celebdf(make_celebdf(*THREE, lines=lines))
    assert set(manifest.clips["dataset"]) == {"celebdf_v1"}
    assert len(left(manifest, "missing")) == 99
    assert f"Videos in {LIST} that are missing: 99, first YouTube-real/00171.mp4." in manifest.notes


@pytest.mark.parametrize(
    ("line", "mark"),
    [("1 Celeb-synthesis/id0_id1_0000.mp4", "real"), ("0 Celeb-real/id0_0000.mp4", "fake")],
)
def test_a_list_that_contradicts_the_folders_is_refused_naming_both(make_celebdf, line, mark):
    root = make_celebdf(*THREE, lines=["1 YouTube-real/00170.mp4", line])
    with pytest.raises(RequestError, match=rf"line 2 of .*got '{line}', which is {mark} .* lies in Celeb-"):
        read_celebdf(root)


@pytest.mark.parametrize(
    "line",
    [
        "2 Celeb-real/id0_0000.mp4",
        "Celeb-real/id0_0000.mp4",
        "1 id0_0000.mp4",
        "1 Celeb-real/id0_id1_0000.mp4",
        "1 Celeb-real/id0_0000.mp4 twice",
        "1 elsewhere/id0_0000.mp4",
    ],
)
def test_a_malformed_line_is_refused_with_the_line(make_celebdf, line):
    root = make_celebdf(*THREE, lines=["1 YouTube-real/00170.mp4", line])
    with pytest.raises(RequestError, match=rf"Expected '0' or '1' and .* in line 2 of .*got '{line}'"):
        read_celebdf(root)


def test_a_list_from_another_system_reads_the_same(make_celebdf, column):
    root = make_celebdf(*THREE)
    (root / LIST).write_bytes(
        b"\xef\xbb\xbf1 YouTube-real/00170.mp4\r\n0\tCeleb-synthesis/id0_id1_0000.mp4\r\n"
    )
    assert list(column(read_celebdf(root), "split").values()) == ["train", "test", "test"]


def test_names_and_files_that_no_rule_explains_are_listed(make_celebdf, left):
    root = make_celebdf(
        *THREE,
        "Celeb-real/id0.mp4",
        "Celeb-synthesis/id0_0000.mp4",
        "YouTube-real/170.mp4",
        "YouTube-real/00171.png",
        "Celeb-real/frames/id0_0000/0.png",
        "README.md",
        ".DS_Store",
        "Celeb-real/.DS_Store",
    )
    assert left(read_celebdf(root)) == {
        "Celeb-real/frames": "a folder; no rule explains it",
        "Celeb-real/id0.mp4": "no Celeb-DF name: expected <id>_<number>.mp4",
        "Celeb-synthesis/id0_0000.mp4": "no Celeb-DF name: expected <target id>_<source id>_<number>.mp4",
        "README.md": "no rule explains it",
        "YouTube-real/00171.png": "not a video by its name",
        "YouTube-real/170.mp4": "no Celeb-DF name: expected <number>.mp4",
    }


def test_copies_with_a_folder_of_videos_and_another_spelling(make_celebdf, column):
    lines = ["1 YouTube-real/00170.mp4"]
    root = make_celebdf("Celeb-real/videos/id0_0000.mp4", "Youtube-real/videos/00170.mp4", lines=lines)
    manifest = read_celebdf(root)
    assert column(manifest, "identity") == {
        "Celeb-real/videos/id0_0000.mp4": "celebdf/id0",
        "Youtube-real/videos/00170.mp4": "celebdf/youtube-00170",
    }
    assert column(manifest, "split")["Youtube-real/videos/00170.mp4"] == "test"


def test_folders_without_videos_are_refused(make_celebdf):
    root = make_celebdf("Celeb-real/id0_0000.png", "Celeb-synthesis/notes.txt")
    with pytest.raises(RequestError, match=r"Expected Celeb-DF videos .*got none \(other entries: 2, first"):
        read_celebdf(root)
