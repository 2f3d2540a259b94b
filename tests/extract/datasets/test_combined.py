import pandas as pd
import pytest

from extract.datasets.combined import join
from extract.datasets.faceforensics import read_faceforensics
from extract.datasets.registry import DATASETS, holds_crops, read_dataset, recognise
from extract.errors import RequestError
from extract.manifest import make_manifest, read_manifest, write_manifest

V1 = "Celeb-DF-v1"
V2 = "Celeb-DF-v2"
LIST = "List_of_testing_videos.txt"


@pytest.fixture
def mixture(make):
    """FaceForensics++ and both versions of Celeb-DF, as the Kaggle mixture may hold them."""
    root = make(
        "FaceForensics++/original_sequences/youtube/c23/videos/071.mp4",
        "FaceForensics++/manipulated_sequences/Deepfakes/c23/videos/071_054.mp4",
        *(f"{version}/Celeb-real/id0_0000.mp4" for version in (V1, V2)),
        *(f"{version}/Celeb-synthesis/id0_id1_0000.mp4" for version in (V1, V2)),
        "notes.txt",
        "papers/one.pdf",
        ".DS_Store",
    )
    for version, count in ((V1, 100), (V2, 518)):
        lines = "".join(f"1 YouTube-real/{number:05d}.mp4\n" for number in range(count))
        (root / version / LIST).write_text(lines)
    return root


def people(manifest):
    return set(manifest.clips["identity"]) | set(manifest.clips["source_identity"]) - {""}


def test_a_folder_of_data_sets_is_one(mixture, left):
    assert recognise(mixture) == "combined"
    name, manifest = read_dataset([mixture])
    assert name == "combined"
    assert manifest.clips["dataset"].value_counts().to_dict() == {
        "celebdf_v1": 2,
        "celebdf_v2": 2,
        "faceforensics": 2,
    }
    assert left(manifest) == {
        "notes.txt": "no known data set; no rule explains it",
        "papers": "no known data set; no rule explains it",
    }
    assert any(note.startswith("Celeb-DF-v1: 2 identities in Celeb-real") for note in manifest.notes)


def test_both_versions_of_celebdf_show_the_same_people(mixture):
    _, manifest = read_dataset([mixture / V1, mixture / V2])
    assert people(manifest) == {"celebdf/id0", "celebdf/id1"}
    assert len(manifest.clips) == 4


def test_several_roots_are_what_a_folder_of_them_is(mixture):
    roots = [mixture / name for name in (V1, V2, "FaceForensics++")]
    _, one = read_dataset([mixture])
    name, several = read_dataset(roots)
    assert name == "combined"
    pd.testing.assert_frame_equal(one.clips, several.clips)


def test_data_sets_two_levels_down_are_found(make, left):
    root = make(
        "data/Celeb-DF/Celeb-real/id0_0000.mp4",
        "data/other/x.txt",
        "data/readme.txt",
        "mine/real/a.mp4",
        "mine/fake/b.mp4",
        "far/too/deep/real/a.mp4",
    )
    assert recognise(root) == "combined"
    _, manifest = read_dataset([root])
    assert set(manifest.clips["dataset"]) == {"celebdf", "mine"}
    assert set(left(manifest)) == {"data/other", "data/readme.txt", "far"}


def test_people_of_folders_have_the_folders_name_in_front(make, column):
    root = make(
        *(f"{home}/{name}" for home in ("one", "two") for name in ("real/anna_1.mp4", "fake/anna_1.mp4"))
    )
    _, manifest = read_dataset([root], options={"identity": "([a-z]+)_", "clip": "([a-z]+_[0-9]+)"})
    assert column(manifest, "identity")["one/real/anna_1.mp4"] == "one/anna"
    assert people(manifest) == {"one/anna", "two/anna"}
    assert manifest.clips["clip"].nunique() == 4, "clips of the same name in two folders are two"
    assert manifest.clips["clip"].tolist()[0] == "one/real/anna_1"


def test_folders_of_the_same_name_do_not_share_people(make):
    root = make(*(f"{home}/clips/{half}/anna.mp4" for home in ("one", "two") for half in ("real", "fake")))
    roots = [root / "one" / "clips", root / "two" / "clips"]
    _, manifest = read_dataset(roots, options={"identity": "anna"})
    assert people(manifest) == {"clips/anna", "clips-2/anna"}


def test_a_folder_that_is_called_as_a_data_set_does_not_share_its_people(make, mixture):
    root = make("own/celebdf/real/id0.mp4", "own/celebdf/fake/id0_b.mp4")
    _, manifest = read_dataset(
        [mixture / V1, root / "own" / "celebdf"], options={"identity": r"(?P<identity>id\d+)"}
    )
    assert people(manifest) == {"celebdf/id0", "celebdf/id1", "celebdf-2/id0"}


def test_a_manifest_that_says_its_data_set_shares_its_people(mixture, tmp_path):
    """What was prepared from one version joins the other, and what was combined stays as it is."""
    _, one = read_dataset([mixture / V1])
    write_manifest(one, tmp_path / "v1.csv")
    name, manifest = read_dataset([tmp_path / "v1.csv", mixture / V2])
    assert name == "combined"
    assert people(manifest) == {"celebdf/id0", "celebdf/id1"}
    write_manifest(manifest, tmp_path / "both.parquet")
    _, again = read_dataset([tmp_path / "both.parquet", mixture / "FaceForensics++"])
    assert people(again) == {*people(manifest), "faceforensics/071", "faceforensics/054"}


def test_manifests_of_different_data_sets_do_not_share_people(make):
    root = make("a/x.mp4", "b/x.mp4", "c/x.mp4")
    said = {"a": "studio", "b": "street", "c": ""}
    for name, dataset in said.items():
        table = pd.DataFrame({"path": ["x.mp4"], "label": [0], "identity": ["anna"], "dataset": [dataset]})
        table.to_csv(root / name / "studio.csv", index=False)
    _, manifest = read_dataset([root / name / "studio.csv" for name in said])
    assert manifest.clips["identity"].tolist() == ["studio/anna", "street/anna", "studio-3/anna"]
    assert manifest.clips["dataset"].tolist() == ["studio", "street", "studio-3"]


def test_an_identity_that_nobody_knows_stays_unknown(make):
    root = make(*(f"{home}/{half}/a.mp4" for home in ("one", "two") for half in ("real", "fake")))
    _, manifest = read_dataset([root / "one", root / "two"])
    assert people(manifest) == {""}


def test_further_columns_are_kept_and_empty_elsewhere(make_dfdc, make):
    make_dfdc(part0={"a.mp4": {"label": "REAL", "split": "train"}})
    root = make("mine/real/b.mp4", "mine/fake/c.mp4")
    _, manifest = read_dataset([root / "dfdc_train_part_0", root / "mine"])
    assert manifest.clips["part"].tolist() == ["dfdc_train_part_0", "", ""]


def test_options_go_to_those_that_take_them(mixture):
    _, manifest = read_dataset([mixture], options={"compression": "c23", "manipulations": ["Deepfakes"]})
    assert len(manifest.clips) == 6
    with pytest.raises(RequestError, match=r"Expected compression c40 in .*FaceForensics"):
        read_dataset([mixture], options={"compression": "c40"})


def test_an_option_that_no_member_takes_is_refused(mixture):
    with pytest.raises(
        RequestError, match=r"celebdf and faceforensics, which takes compression and .*got group"
    ):
        read_dataset([mixture], options={"group": "part"})


def test_a_file_in_two_members_is_refused(make):
    root = make("real/a.mp4", "fake/b.mp4")
    (root / "list.csv").write_text("path,label\nreal/a.mp4,1\n")
    with pytest.raises(RequestError, match=r"Expected each file in one .*real/a\.mp4 twice"):
        read_dataset([root, root / "list.csv"])


def test_a_member_that_may_be_two_things_is_not_guessed_at(make):
    root = make("one/real/anna/1.png", "one/fake/carl/1.png", "two/real/a.mp4")
    with pytest.raises(RequestError, match=r"one matches folder and frames\. Prepare it by itself"):
        read_dataset([root])


def test_the_splits_of_one_data_set_are_no_data_sets_of_their_own(make):
    root = make("train/real/a.mp4", "train/fake/b.mp4", "test/real/a.mp4")
    name, manifest = read_dataset([root])
    assert name == "folder"
    assert manifest.clips["split"].tolist() == ["train", "train", "test"]
    assert manifest.clips["label"].tolist() == [0, 1, 0]
    assert manifest.clips["clip"].nunique() == 3


def test_face_crops_and_clips_do_not_mix(make):
    root = make("crops/train/real/a_000001.png", "clips/real/a.mp4", "clips/fake/a.mp4")
    with pytest.raises(
        RequestError, match=r"Expected face crops only, or none; got .*crops with crops and .*clips"
    ):
        read_dataset([root])


def test_face_crops_alone_are_face_crops(make):
    root = make("one/train/real/a_000001.png", "two/train/fake/a_000001.png", "three/real/a.mp4")
    assert holds_crops([root / "one", root / "two"], "combined")
    assert holds_crops([root / "one"], "crops")
    assert not holds_crops([root / "three"], "folder")
    assert not holds_crops([root], "combined")


def test_joining_one_changes_nothing_but_names(full_faceforensics):
    manifest = read_faceforensics(full_faceforensics)
    joined = join({full_faceforensics: manifest})
    pd.testing.assert_frame_equal(joined.clips, manifest.clips)


def test_a_joined_manifest_is_read_again(mixture, tmp_path):
    _, manifest = read_dataset([mixture])
    write_manifest(manifest, tmp_path / "all.parquet")
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "all.parquet").clips, manifest.clips)
    assert make_manifest(manifest.clips, base=tmp_path).clips.equals(manifest.clips)


def test_its_options_are_those_of_all_others():
    others = {option for name in DATASETS if name != "combined" for option in DATASETS[name].options}
    assert DATASETS["combined"].options == tuple(sorted(others))
