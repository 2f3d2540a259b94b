import pandas as pd
import pytest

from extract.datasets.crops import read_crops
from extract.datasets.registry import recognise
from extract.errors import RequestError

EXPORTED = (
    "test/real/anna_1_000010.png",
    "train/fake/carl_000005+1.png",
    "train/fake/carl_000005.png",
    "train/real/anna_1_000000.png",
    "train/real/anna_1_000010.png",
)


def test_clips_are_told_apart_by_split_label_and_name(make, column):
    manifest = read_crops(make(*EXPORTED))
    clips = (
        "test/real/anna_1",
        "train/fake/carl",
        "train/fake/carl",
        "train/real/anna_1",
        "train/real/anna_1",
    )
    assert column(manifest, "clip") == dict(zip(EXPORTED, clips, strict=True))
    assert column(manifest, "split") == {name: name.split("/")[0] for name in EXPORTED}
    assert column(manifest, "label") == {name: int("/fake/" in name) for name in EXPORTED}
    assert manifest.skipped.empty


def test_other_trees_number_their_frames_as_they_like(make, column):
    names = ("fake/b_1.jpg", "real/a_9.jpg", "real/a_10.jpg")
    manifest = read_crops(make(*names))
    assert list(column(manifest, "clip").items()) == list(
        zip(names, ("fake/b", "real/a", "real/a"), strict=True)
    )


def test_files_without_a_frame_number_are_listed(make, left):
    root = make(
        *EXPORTED, "train/real/portrait.png", "train/real/a_1+1.png", "train/real/a_000001.txt", "x.md"
    )
    rule = "no name of a face crop: expected <clip>_<frame>.png"
    assert left(read_crops(root)) == {
        "train/real/a_000001.txt": "not an image by its name",
        "train/real/a_1+1.png": rule,
        "train/real/portrait.png": rule,
        "x.md": "no rule explains it",
    }


def test_identities_from_an_expression(make, column):
    manifest = read_crops(make(*EXPORTED), identity=r"/([a-z]+)_")
    assert set(column(manifest, "identity").values()) == {"anna", "carl"}


@pytest.fixture
def exported(make):
    root = make(*EXPORTED, "train/real/later_000001.png")
    rows = [
        {
            "path": name,
            "label": int("/fake/" in name),
            "identity": "celebdf/id0",
            "dataset": "celebdf_v2",
            "split": name.split("/")[0],
            "clip": name.rsplit("_", 1)[0],
        }
        for name in EXPORTED
    ]
    pd.DataFrame(rows).to_csv(root / "faces.csv", index=False)
    return root


def test_a_table_of_the_faces_says_what_they_are(exported, column, left):
    assert recognise(exported) == "crops"
    manifest = read_crops(exported)
    assert list(column(manifest, "path")) == list(EXPORTED)
    assert set(manifest.clips["identity"]) == {"celebdf/id0"}
    assert set(manifest.clips["dataset"]) == {"celebdf_v2"}
    assert left(manifest) == {"train/real/later_000001.png": "not in faces.csv; no rule explains it"}


def test_an_expression_goes_before_the_table(exported, column):
    manifest = read_crops(exported, identity=r"/([a-z]+)_")
    assert set(column(manifest, "identity").values()) == {"anna", "carl"}
    assert set(manifest.clips["dataset"]) == {"celebdf_v2"}


def test_a_table_without_splits_is_no_folder(make):
    root = make("real/a_000001.png", "fake/b_000001.png")
    (root / "faces.csv").write_text("path,label\nreal/a_000001.png,real\nfake/b_000001.png,fake\n")
    assert recognise(root) == "crops"
    with pytest.raises(RequestError, match="Expected an option of crops, which takes identity; got clip"):
        recognise(root, ["clip"])


def test_a_table_that_names_missing_files_is_refused(exported):
    (exported / EXPORTED[0]).unlink()
    with pytest.raises(RequestError, match=r"1 of \d+ paths name none, first .*anna_1_000010"):
        read_crops(exported)


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (("train/real/a_000001.png", "train/fake/b_000001.png"), "crops"),
        (("train/real/a_1.jpg", "val/fake/b_1.jpg"), "crops"),
        (("real/a.png", "fake/b.png"), "folder"),
        (("real/a_000001.png", "real/portrait.png", "fake/b_000001.png"), "folder"),
        (("real/IMG_20200101_123456.jpg", "fake/IMG_20200101_123457.jpg"), "folder"),
        (("real/a_1.png", "fake/b_2.png"), "folder"),
    ],
)
def test_recognised_where_the_layout_or_the_names_say_so(make, names, name):
    assert recognise(make(*names)) == name


def test_images_named_as_we_export_them_may_be_either(make):
    with pytest.raises(RequestError, match="matches folder and crops"):
        recognise(make("real/a_000001.png", "fake/b_000001.png"))


def test_folders_without_crops_are_refused(make):
    with pytest.raises(RequestError, match=r"Expected face crops \(.*got none \(other entries: 1"):
        read_crops(make("train/real/portrait.png"))
