import os
import re

import pytest

from extract.datasets.listing import (
    Grammar,
    assemble,
    glance,
    list_files,
    natural,
    need_folder,
    sort_out,
)
from extract.errors import RequestError
from extract.manifest import Reason
from extract.names import file_of

ROW = {"path": "a.mp4", "label": 0}


def codes(listing):
    return {name: reason.code for name, reason in listing.strange.items()}


def test_files_are_listed_at_any_depth_in_order(make):
    root = make("b/c.mp4", "a.mp4", "b/d/e.mp4", "b.mp4")
    assert list_files(root).files == ["a.mp4", "b/c.mp4", "b/d/e.mp4", "b.mp4"]


def test_hidden_files_and_folders_are_ignored(make):
    listing = list_files(make("a.mp4", ".DS_Store", "b/._c.mp4", ".git/d.mp4"))
    assert listing.files == ["a.mp4"]
    assert listing.strange == {}


def test_folders_that_are_not_entered_are_one_line(make):
    listing = list_files(make("a/b.mp4", "c/d.mp4", "c/e/f.mp4"), enter=lambda folder: folder == "a")
    assert listing.files == ["a/b.mp4"]
    assert listing.strange == {"c": Reason("E_FOLDER_UNEXPLAINED", "a folder; no rule explains it")}


def test_two_links_that_meet_end(make):
    root = make("a/x.mp4", "b/y.mp4")
    (root / "a" / "to b").symlink_to(root / "b")
    (root / "b" / "to a").symlink_to(root / "a")
    listing = list_files(root)
    assert listing.files == ["a/to b/y.mp4", "a/x.mp4", "b/to a/x.mp4", "b/y.mp4"]
    assert set(listing.strange) == {"a/to b/to a", "b/to a/to b"}


def test_a_link_to_a_folder_above_the_root_is_a_loop(make):
    root = make("real/a.png", "fake/b.png") / "real"
    (root / "up").symlink_to("..")
    (root / "top").symlink_to("/")
    found = list_files(root)
    assert found.files == ["a.png"]
    assert {name: reason.code for name, reason in found.strange.items()} == dict.fromkeys(
        ["up", "top"], "E_LINK_LOOP"
    )


def test_a_link_to_a_device_is_no_file(make):
    root = make("real/a.png")
    (root / "real" / "zero.mp4").symlink_to("/dev/zero")
    assert {reason.code for reason in list_files(root).strange.values()} == {"E_FILE_SPECIAL"}


def test_a_link_to_itself_is_no_file(make):
    root = make("a.mp4")
    (root / "loop").symlink_to("loop")
    assert codes(list_files(root)) == {"loop": "E_LINK_BROKEN"}


def test_what_is_no_regular_file_is_left_out(make):
    root = make("a.mp4")
    os.mkfifo(root / "pipe.mp4")
    assert codes(list_files(root)) == {"pipe.mp4": "E_FILE_SPECIAL"}


def test_names_that_are_no_utf8_are_files_like_others(make):
    root = make("a.mp4")
    with open(os.path.join(os.fsencode(root), b"b\xff.mp4"), "wb"):
        pass
    os.mkdir(os.path.join(os.fsencode(root), b"c\xff"))
    with open(os.path.join(os.fsencode(root), b"c\xff", b"d.mp4"), "wb"):
        pass
    listing = list_files(root)
    assert listing.files == ["a.mp4", "b\\xff.mp4", "c\\xff/d.mp4"]
    assert listing.strange == {}
    assert all((root / file_of(name)).is_file() for name in listing.files)
    rows = [{"path": name, "label": 0} for name in listing.files]
    clips = assemble(rows, root, layout="clips", skipped={}).clips
    assert clips["path"].tolist() == [f"{root}/{name}" for name in listing.files]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_read_is_left_out(make):
    root = make("a.mp4", "b/c.mp4")
    (root / "b").chmod(0)
    try:
        assert codes(list_files(root)) == {"b": "E_FOLDER_NOT_READ"}
    finally:
        (root / "b").chmod(0o700)


def test_a_folder_that_the_system_does_not_list_is_counted_and_the_rest_is_read(make, monkeypatch):
    root, scandir = make("a/b.mp4", "c/d.mp4"), os.scandir

    def forbidden(folder):
        if os.fspath(folder).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr("extract.datasets.listing.os.scandir", forbidden)
    listing = list_files(root)
    assert listing.files == ["c/d.mp4"]
    assert listing.strange == {
        "a": Reason("E_FOLDER_NOT_READ", "a folder that cannot be read: Permission denied")
    }


def test_a_folder_that_is_gone_is_left_out(tmp_path):
    assert list_files(tmp_path, ["gone"]).strange == {
        "gone": Reason("E_FOLDER_NOT_READ", "a folder that cannot be read: No such file or directory")
    }


def test_a_glance_is_short(make):
    root = make(*(f"{n}.mp4" for n in range(30)), ".DS_Store")
    assert len(glance(root)) == 20
    assert len(glance(root, None)) == 30
    assert glance(root / "nowhere") == []


def test_numbers_in_names_have_a_value():
    names = ["10", "9", "a10b2", "a9b10", "a9b9", "a²", "a", ""]
    assert sorted(names, key=natural) == ["", "9", "10", "a", "a9b9", "a9b10", "a10b2", "a²"]


def test_videos_are_told_from_other_files_by_their_names():
    grammars = {"real": Grammar(re.compile(r"([a-z]+)()"), "<name>")}
    videos, faults = sort_out(
        ["real/anna.MP4", "real/1.mp4", "real/anna.png", "else/anna.mp4"],
        {"real": "real"},
        grammars,
        title="Test",
    )
    assert {name: match[1] for name, match in videos.items()} == {"real/anna.MP4": "anna"}
    assert {name: (fault.code, fault.text) for name, fault in faults.items()} == {
        "real/1.mp4": ("E_FILE_NAME", "no Test name: expected <name>.mp4"),
        "real/anna.png": ("E_FILE_KIND", "not a video by its name"),
        "else/anna.mp4": ("E_FILE_UNEXPLAINED", "no rule explains it"),
    }


def test_a_manifest_with_what_is_left_out_missing_and_worth_a_note(make):
    root = make("a.mp4")
    manifest = assemble(
        [ROW],
        root,
        layout="clips",
        skipped={"z": Reason("E_Z", "1"), "b": Reason("E_B", "2")},
        missing={"c": Reason("E_C", "3")},
        notes=["Note."],
    )
    assert manifest.clips["path"].tolist() == [f"{root}/a.mp4"]
    assert manifest.skipped.to_numpy().tolist() == [
        [f"{root}/b", "skipped", "E_B", "2"],
        [f"{root}/z", "skipped", "E_Z", "1"],
        [f"{root}/c", "missing", "E_C", "3"],
    ]
    assert manifest.notes == ("Note.",)


@pytest.mark.parametrize(
    ("skipped", "but"),
    [({}, ""), (dict.fromkeys("xy", Reason("E_X", "why")), " \\(other entries: 2, first x: why\\)")],
)
def test_nothing_found_says_what_was_expected_and_what_is_there(tmp_path, skipped, but):
    with pytest.raises(RequestError, match=rf"Expected some clips below .*; got none{but}\. Check the path"):
        assemble([], tmp_path, layout="some clips", skipped=skipped)


def test_only_a_folder_is_a_folder(make):
    root = make("a.mp4")
    assert need_folder(root) is None
    with pytest.raises(RequestError, match=r"a\.mp4, which is a file"):
        need_folder(root / "a.mp4")
    with pytest.raises(RequestError, match="nowhere, which does not exist"):
        need_folder(root / "nowhere")
