import pytest

from extract.datasets.frames import read_frames
from extract.datasets.registry import recognise
from extract.errors import RequestError

SPLIT = ("train/real/anna_1/1.png", "train/fake/carl_1/1.png", "test/real/bert_1/1.png")


def test_each_folder_of_images_is_a_clip(make, column, tmp_path):
    names = ("real/a/10.png", "real/a/9.png", "real/b/deep/1.jpg", "fake/a/1.png")
    manifest = read_frames(make(*names))
    assert column(manifest, "clip") == {
        "fake/a/1.png": "fake/a",
        "real/a/9.png": "real/a",
        "real/a/10.png": "real/a",
        "real/b/deep/1.jpg": "real/b/deep",
    }
    assert manifest.clips.loc[manifest.clips["label"] == 1, "path"].tolist() == [f"{tmp_path}/fake/a/1.png"]


def test_frames_are_in_natural_order(make, column):
    root = make("fake/c/1.png", *(f"real/a/frame{n}.png" for n in (10, 9, 100, 1)))
    manifest = read_frames(root)
    frames = [path for path in column(manifest, "clip") if path.startswith("real")]
    assert frames == [f"real/a/frame{n}.png" for n in (1, 9, 10, 100)]


def test_splits_come_first_in_the_path(make, column):
    manifest = read_frames(make(*SPLIT))
    assert column(manifest, "split") == {name: name.split("/")[0] for name in SPLIT}
    assert column(manifest, "label") == {name: int("fake" in name) for name in SPLIT}
    assert column(manifest, "clip") == {name: name.rpartition("/")[0] for name in SPLIT}


def test_identities_from_an_expression(make, column):
    manifest = read_frames(make(*SPLIT), identity=r"/([a-z]+)_\d+/")
    assert column(manifest, "identity") == dict(zip(SPLIT, ("anna", "carl", "bert"), strict=True))


def test_a_clip_with_two_identities_is_refused(make):
    with pytest.raises(RequestError, match="Expected one identity a clip"):
        read_frames(make("real/c/anna1.png", "real/c/bert2.png", "fake/d/carl1.png"), identity=r"([a-z]+)\d")


def test_files_that_no_rule_explains_are_listed(make, left):
    root = make(
        *SPLIT, "train/real/direct.png", "train/real/anna_1/notes.txt", "train/masks/a/1.png", "list.csv"
    )
    assert left(read_frames(root)) == {
        "list.csv": "no rule explains it",
        "train/masks": "a folder; no rule explains it",
        "train/real/anna_1/notes.txt": "not an image by its name",
        "train/real/direct.png": (
            "an image outside a clip's folder: expected [train|val|test/]real|fake/<clip>/<image>"
        ),
    }


def test_folders_without_images_are_refused(make):
    with pytest.raises(
        RequestError, match=r"Expected images \(.*got none \(other entries: 1, first real/a/x"
    ):
        read_frames(make("real/a/x.mp4"))


def test_folders_of_images_may_be_clips_or_people(make):
    root = make("real/anna/1.png", "fake/carl/1.png")
    with pytest.raises(
        RequestError, match=r"folder and frames\. Pass --dataset folder or --dataset frames\."
    ):
        recognise(root)
    assert recognise(root, ["clip"]) == "folder", "an expression for clips says which"


@pytest.mark.parametrize(
    "names",
    [
        ("real/a.png", "fake/b.png"),
        ("real/a.mp4", "fake/anna/b.mp4"),
        ("real/anna/a.mp4", "real/anna/deep/b.mp4", "fake/b.mp4"),
        ("real/a.png", "real/more/b.png", "fake/b.png"),
        ("real/a.txt", "fake/b.txt"),
    ],
)
def test_clips_that_lie_directly_in_the_halves_are_a_folder(make, names):
    assert recognise(make(*names)) == "folder"
