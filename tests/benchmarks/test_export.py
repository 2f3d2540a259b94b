import pandas as pd
import pytest

from benchmarks.export import describe_export, export_faces
from benchmarks.machine import Machine
from benchmarks.suite import DataSettings
from extract.datasets.registry import read_dataset
from extract.errors import RequestError
from extract.store import Store

COLUMNS = ["label", "identity", "source_identity", "attack", "dataset", "split"]


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def pictures(folder):
    """Return the images below each folder of a tree, by number."""
    parents = [path.parent.relative_to(folder).as_posix() for path in folder.rglob("*.png")]
    return pd.Series(parents).value_counts().to_dict()


def people(manifest):
    """Return what a manifest says of each of its clips, whatever their names and order."""
    clips = manifest.clips.assign(size=manifest.clips.groupby("clip")["path"].transform("size"))
    table = clips.drop_duplicates("clip")[[*COLUMNS, "size"]].astype(str)
    return sorted(table.itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder for the exports of this module, whose cache they share."""
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def export(home, write_suite, swaps):
    """Export the swaps' faces as the tiny suite with more keys says; returns tree, report and what was said."""

    def export(out, *, data=None, **keys):
        said, suite = [], write_suite(home, data=swaps, **keys)
        suite = suite.model_copy(update={"data": data}) if data else suite
        report = export_faces(suite, out, machine=Machine(Store(home / "cache"), say=said.append))
        return out, report, said

    return export


@pytest.fixture(scope="module")
def whole(home, export):
    return export(home / "whole")


@pytest.fixture(scope="module")
def drawn(home, export):
    return export(home / "drawn", top="draw = { train = 12, test = 4 }")


# -- the tree --------------------------------------------------------------------------------------------------


def test_every_face_is_written_below_split_and_label(whole):
    out, _, _ = whole
    assert pictures(out) == {
        **{"train/real": 16, "train/fake": 32, "val/real": 8, "val/fake": 16},
        **{"test/real": 8, "test/fake": 16, "real": 8, "fake": 16},
    }
    assert sorted(set(files(out)) - {f for f in files(out) if f.endswith(".png")}) == [
        "faces.csv",
        "verification.csv",
    ]


def test_drawn_faces_are_written_and_no_other(drawn):
    out, _, _ = drawn
    assert pictures(out) == {"train/real": 12, "train/fake": 12, "test/real": 4, "test/fake": 4}


def test_the_table_names_every_picture(drawn):
    out, _, _ = drawn
    table = pd.read_csv(out / "faces.csv", keep_default_na=False)
    assert sorted(table["path"]) == [name for name in files(out) if name.endswith(".png")]
    assert list(table) == [
        "path",
        "label",
        "identity",
        "source_identity",
        "attack",
        "dataset",
        "split",
        "clip",
    ]
    halves = table["split"] + "/" + table["label"].map({0: "real", 1: "fake"})
    assert (table["path"].str.rpartition("/")[0] == halves).all()


def test_the_same_request_writes_the_same_tree(drawn, export, tmp_path):
    out, report, _ = export(tmp_path / "again", top="draw = { train = 12, test = 4 }")
    assert files(out) == files(drawn[0])
    assert all((out / name).read_bytes() == (drawn[0] / name).read_bytes() for name in files(out))
    pd.testing.assert_frame_equal(report, drawn[1])


def test_the_same_export_into_the_same_tree_changes_nothing(drawn, export):
    before = {name: (drawn[0] / name).read_bytes() for name in files(drawn[0])}
    export(drawn[0], top="draw = { train = 12, test = 4 }")
    assert {name: (drawn[0] / name).read_bytes() for name in files(drawn[0])} == before


def test_an_export_that_was_killed_is_completed(drawn, export, tmp_path):
    out, _, _ = export(tmp_path / "out", top="draw = { train = 12, test = 4 }")
    (out / "faces.csv").unlink()
    (out / "verification.csv").unlink()
    for path in sorted(out.rglob("*.png"))[::2]:
        path.unlink()
    (out / "train" / "real" / ".tmp-0123").write_bytes(b"half")
    export(out, top="draw = { train = 12, test = 4 }")
    assert files(out) == files(drawn[0])


def test_another_seed_draws_other_faces(drawn, export, tmp_path):
    out, _, _ = export(tmp_path / "other", top="draw = { train = 12, test = 4 }\nseed = 1")
    assert files(out) != files(drawn[0])
    assert pictures(out) == pictures(drawn[0])


# -- the report ------------------------------------------------------------------------------------------------


def test_the_report_counts_before_and_after_the_draw(drawn):
    report = drawn[1].set_index("folder")
    assert report.loc["train/real"].to_dict() | report.loc["train/fake"].to_dict() == {
        **{"split": "train", "label": 1, "faces_found": 32, "clips_found": 16},
        **{"faces": 12, "clips": report.loc["train/fake", "clips"], "files": 12, "share": 0.5},
    }
    assert report["faces_found"].to_dict() == {
        **{"real": 8, "fake": 16, "test/real": 8, "test/fake": 16},
        **{"train/real": 16, "train/fake": 32, "val/real": 8, "val/fake": 16},
    }
    assert report["faces"].sum() == report["files"].sum() == 32
    unused = report.loc[["real", "fake", "val/real", "val/fake"]]
    assert not unused[["faces", "clips", "files", "share"]].any(axis=None)


def test_the_report_counts_clips_by_their_names(drawn):
    out, report, _ = drawn
    table = pd.read_csv(out / "faces.csv")
    clips = table.groupby(["split", "label"])["clip"].nunique().to_dict()
    kept = report[report["faces"] > 0]
    assert {(line.split, line.label): line.clips for line in kept.itertuples()} == clips


def test_without_a_draw_before_and_after_are_equal(whole):
    report = whole[1]
    assert (report["faces"] == report["faces_found"]).all()
    assert (report["clips"] == report["clips_found"]).all()
    assert report.groupby("split")["share"].sum().round(9).eq(1).all()


def test_the_report_lies_in_the_tree(drawn):
    out, report, _ = drawn
    read = pd.read_csv(out / "verification.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(read, report, check_dtype=False)


def test_the_report_is_described_in_lines(drawn):
    lines = describe_export(drawn[1])
    assert lines[0].split() == [
        "folder",
        "faces",
        "found",
        "clips",
        "found",
        "faces",
        "clips",
        "files",
        "share",
    ]
    assert len(lines) == 1 + 8 + 1
    (fakes,) = (line.split() for line in lines if line.strip().startswith("train/fake"))
    assert fakes == ["train/fake", "32", "16", "12", fakes[4], "12", "50.0", "%"]
    assert lines[-1] == "Verified: every folder holds the faces that were drawn, and no other file."


def test_what_was_left_out_is_said_with_the_reason(export, training, tmp_path):
    _, _, said = export(tmp_path / "out", data=DataSettings(manifest=training))
    real = training.parent / "real"
    assert f"skipped: {real / 'copy.png'}: same bytes as {real / 'p0_0.png'} [E_CLIP_REPEATED]" in said
    assert any(
        line.startswith(f"skipped: {real / 'broken.png'}: ") and "[E_CLIP_UNREADABLE]" in line
        for line in said
    )


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["train/real/other.png", "train/fake/notes.txt", "old/real/a_000000.png"])
def test_a_foreign_file_in_the_tree_is_refused(place, export, tmp_path):
    path = tmp_path / "out" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(RequestError, match=r"The folder holds other files: choose an empty one\."):
        export(tmp_path / "out")
    assert path.read_bytes() == b"mine"


def test_a_refused_tree_is_left_as_it_was(drawn, export, tmp_path):
    export(tmp_path / "out", top="draw = { train = 12, test = 4 }")
    before = files(tmp_path / "out")
    with pytest.raises(RequestError, match="The folder holds other files"):
        export(tmp_path / "out", top="draw = { train = 12, test = 4 }\nseed = 1")
    assert files(tmp_path / "out") == before


def test_more_faces_than_there_are_are_refused_and_nothing_is_written(export, tmp_path):
    with pytest.raises(RequestError, match=r"at least 17 real faces with split 'train' to draw from; got 16"):
        export(tmp_path / "out", top="draw = { train = 17 }")
    assert not (tmp_path / "out").exists()


# -- there and back --------------------------------------------------------------------------------------------


def test_the_tree_reads_back_as_the_same_clips(whole, swaps):
    name, manifest = read_dataset([whole[0]])
    assert name == "crops"
    assert manifest.skipped.empty
    assert people(manifest) == people(read_dataset([swaps], name="manifest")[1])


def test_a_drawn_tree_reads_back_with_the_clips_that_were_drawn(drawn, swaps):
    name, manifest = read_dataset([drawn[0]])
    assert name == "crops"
    assert manifest.clips.groupby(["split", "label"]).size().to_dict() == {
        **{("test", 0): 4, ("test", 1): 4},
        **{("train", 0): 12, ("train", 1): 12},
    }
    known = {line[:-1] for line in people(read_dataset([swaps], name="manifest")[1])}
    assert {line[:-1] for line in people(manifest)} <= known


def test_an_exported_tree_exports_the_same_pictures(drawn, export, tmp_path):
    out, _, said = export(tmp_path / "out", data=DataSettings(folder=[drawn[0]]))
    assert said[0].startswith("Data set: Face crops, recognised in ")
    pixels = [sorted(path.read_bytes() for path in tree.rglob("*.png")) for tree in (out, drawn[0])]
    assert pixels[0] == pixels[1]
    assert people(read_dataset([out])[1]) == people(read_dataset([drawn[0]])[1])
