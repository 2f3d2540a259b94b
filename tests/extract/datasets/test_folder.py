import pytest

from classify.groups import groups_of
from extract.datasets.folder import read_folder
from extract.errors import RequestError


def test_labels_come_from_the_folders(make, column):
    root = make("real/a.mp4", "real/deep/down/b.png", "fake/c.jpg")
    assert column(read_folder(root), "label") == {
        "real/a.mp4": 0,
        "real/deep/down/b.png": 0,
        "fake/c.jpg": 1,
    }


def test_without_an_expression_each_file_is_a_clip_of_nobody_known(make):
    root = make("real/a.mp4", "real/p/a.mp4", "real/q/a.mp4", "fake/a.mp4")
    clips = read_folder(root).clips
    assert set(clips["identity"]) == {""}
    assert clips["clip"].nunique() == 4
    assert (clips["source_identity"] == "").all()


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param(r"(?P<what>x)?(?P<identity>id\d+)_", id="named group"),
        pytest.param(r"(id\d+)_(clip)", id="first group"),
        pytest.param(r"id\d+", id="whole match"),
    ],
)
def test_identity_from_an_expression(make, column, expression):
    root = make("real/id1_clip1.mp4", "real/id1_clip2.mp4", "fake/id2_clip1.mp4")
    assert column(read_folder(root, identity=expression), "identity") == {
        "real/id1_clip1.mp4": "id1",
        "real/id1_clip2.mp4": "id1",
        "fake/id2_clip1.mp4": "id2",
    }


def test_the_expression_sees_the_folders_below_the_root_and_not_the_root(make, column):
    root = make("real/anna/1.png", "fake/bert/1.png")
    identities = column(read_folder(root, identity=r"^[^/]+/([^/]+)/"), "identity")
    assert identities == {"real/anna/1.png": "anna", "fake/bert/1.png": "bert"}


def test_an_identity_may_show_up_under_both_labels(make):
    root = make("real/id1_a.mp4", "fake/id1_b.mp4")
    assert set(read_folder(root, identity=r"id\d+").clips["identity"]) == {"id1"}


def test_source_identity_from_a_named_group(make, column):
    root = make("real/id1.mp4", "fake/id1_id9.mp4")
    manifest = read_folder(root, identity=r"(?P<identity>id\d+)(_(?P<source_identity>id\d+))?")
    assert column(manifest, "identity") == {"real/id1.mp4": "id1", "fake/id1_id9.mp4": "id1"}
    assert column(manifest, "source_identity") == {"real/id1.mp4": "", "fake/id1_id9.mp4": "id9"}


def test_frames_of_one_clip_from_an_expression(make, column):
    root = make("real/s1/0.png", "real/s1/1.png", "real/s2/0.png", "fake/s1/0.png")
    clips = column(read_folder(root, clip=r"/([^/]+)/"), "clip")
    assert clips["real/s1/0.png"] == clips["real/s1/1.png"]
    assert len(set(clips.values())) == 3, "real/s1 and fake/s1 are two clips that share a folder name"


def test_without_an_identity_the_frames_of_a_clip_share_a_group(make):
    root = make("real/s1/0.png", "real/s1/1.png", "fake/s1/0.png")
    clips = read_folder(root, clip=r"/([^/]+)/").clips
    paths = clips["path"].str.removeprefix(f"{root}/")
    groups = dict(zip(paths, groups_of(clips, ["identity", "source_identity"]), strict=True))
    assert groups["real/s1/0.png"] == groups["real/s1/1.png"] != groups["fake/s1/0.png"]


def test_a_clip_with_two_identities_is_refused(make):
    root = make("real/s1/anna.png", "real/s1/bert.png", "fake/s2/carl.png")
    with pytest.raises(RequestError, match="Expected one identity a clip"):
        read_folder(root, clip=r"/([^/]+)/", identity=r"([a-z]+)\.png")


@pytest.mark.parametrize("option", ["identity", "clip"])
def test_an_expression_that_misses_files_is_refused_with_the_first(make, option):
    root = make("real/id1.mp4", "real/other.mp4", "fake/thing.mp4")
    with pytest.raises(RequestError, match=rf"Expected --{option} .* got 2 of 3 .*first 'real/other\.mp4'"):
        read_folder(root, **{option: r"id\d+"})


@pytest.mark.parametrize("option", ["identity", "clip"])
def test_an_invalid_expression_is_refused(make, option):
    root = make("real/a.mp4", "fake/b.mp4")
    with pytest.raises(RequestError, match=rf"Expected a regular expression for --{option}; got '\(id'"):
        read_folder(root, **{option: "(id"})


def test_names_with_spaces_and_umlauts(make, column):
    root = make("real/Jörg Müller (1).mp4", "fake/日本 ß.PNG")
    assert set(column(read_folder(root, identity=r"/([^/(.]+\w)"), "identity").values()) == {
        "Jörg Müller",
        "日本 ß",
    }


def test_endings_in_capitals_are_media(make):
    root = make("real/a.MP4", "fake/b.JpEg")
    assert len(read_folder(root).clips) == 2


def test_other_files_are_reported(make):
    root = make("real/a.mp4", "fake/b.mp4", "fake/readme.txt", "real/notes/list.csv", "real/noending")
    manifest = read_folder(root)
    assert len(manifest.clips) == 2
    skipped = manifest.skipped
    assert skipped["path"].str.removeprefix(f"{root}/").tolist() == [
        "fake/readme.txt",
        "real/noending",
        "real/notes/list.csv",
    ]
    assert set(skipped["outcome"]) == {"skipped"}
    assert set(skipped["reason"]) == {"neither an image nor a video by its name"}


def test_what_lies_beside_the_two_folders_is_listed_and_not_looked_into(make, left):
    root = make(
        "real/a.mp4", "fake/b.mp4", "c.mp4", "other/d.mp4", "clips.csv", "train/e.mp4", "train/real/f.mp4"
    )
    manifest = read_folder(root)
    assert len(manifest.clips) == 3
    assert left(manifest) == {
        "c.mp4": "no rule explains it",
        "clips.csv": "no rule explains it",
        "other": "a folder; no rule explains it",
        "train/e.mp4": "no rule explains it",
    }


def test_hidden_files_are_ignored(make):
    manifest = read_folder(make("real/a.mp4", "fake/b.mp4", "real/.DS_Store", "fake/._b.mp4"))
    assert len(manifest.clips) == 2
    assert manifest.skipped.empty


def test_files_in_hidden_folders_are_ignored(make):
    manifest = read_folder(make("real/a.png", "fake/b.png", "real/.ipynb_checkpoints/a-checkpoint.png"))
    assert len(manifest.clips) == 2


@pytest.mark.parametrize("lost", ["real", "fake"])
def test_a_missing_half_is_named(make, lost):
    root = make("fake/a.mp4" if lost == "real" else "real/a.mp4")
    with pytest.raises(RequestError, match=rf"{root}/{lost} does not exist"):
        read_folder(root)


def test_a_root_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"does not exist\. Check the path"):
        read_folder(tmp_path / "nowhere")


def test_folders_without_media_are_refused(make):
    with pytest.raises(RequestError, match=r"Expected images or videos in real/ and fake/ below .*got none"):
        read_folder(make("real/a.txt", "fake/b.txt"))


def test_the_order_does_not_depend_on_the_file_system(make):
    root = make("real/b.mp4", "real/a.mp4", "fake/d.mp4", "fake/c.mp4")
    paths = read_folder(root).clips["path"].tolist()
    assert paths == [f"{root}/{name}" for name in ("real/a.mp4", "real/b.mp4", "fake/c.mp4", "fake/d.mp4")]


def test_a_link_that_leads_nowhere_is_left_out(make, left):
    root = make("real/a.mp4", "fake/b.mp4")
    (root / "real" / "gone.mp4").symlink_to(root / "nowhere.mp4")
    manifest = read_folder(root)
    assert len(manifest.clips) == 2
    assert left(manifest) == {"real/gone.mp4": "a link to a file that does not exist"}


@pytest.mark.parametrize("target", [".", "real", "real/p"])
def test_a_link_to_a_folder_above_is_not_followed(make, left, target):
    root = make("real/p/a.mp4", "fake/b.mp4")
    (root / "real" / "p" / "again").symlink_to(root / target)
    manifest = read_folder(root)
    assert len(manifest.clips) == 2
    assert left(manifest) == {"real/p/again": "a link back to a folder that it lies in"}


def test_other_links_to_folders_are_followed(make, column, tmp_path_factory):
    root, elsewhere = make("real/a.mp4", "fake/b.mp4"), tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "c.mp4").write_bytes(b"c")
    (root / "fake" / "more").symlink_to(elsewhere)
    assert column(read_folder(root), "label") == {"real/a.mp4": 0, "fake/b.mp4": 1, "fake/more/c.mp4": 1}
