import dataclasses
import errno

import pandas as pd
import pytest

from extract.errors import RequestError
from extract.manifest import (
    OPTIONAL,
    Manifest,
    Reason,
    check_classes,
    make_manifest,
    read_manifest,
    skip_table,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / "clips").mkdir(exist_ok=True)
        (tmp_path / "clips" / name).write_bytes(name.encode())
    return tmp_path


def write(folder, text):
    path = folder / "clips.csv"
    path.write_text(text, encoding="utf-8")
    return path


TWO_CLIPS = pd.DataFrame({"path": ["clips/a.mp4", "clips/b.mp4"], "label": ["real", "fake"]})
DARK = Reason("E_TEST", "too dark")


def test_a_manifest_of_paths_and_labels_gets_every_column(folder):
    clips = read_manifest(write(folder, "path,label\nclips/a.mp4,real\nclips/b.mp4,fake\n")).clips
    assert list(clips.columns) == ["path", "label", *OPTIONAL]
    assert clips["label"].tolist() == [0, 1]
    assert (clips[["identity", "source_identity", "attack", "dataset", "split"]] == "").all(axis=None)
    assert clips["clip"].tolist() == clips["path"].tolist()


def test_relative_paths_start_at_the_manifests_folder(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    clips = read_manifest(write(folder, "path,label\nclips/a.mp4,real\nclips/../clips/b.mp4,fake\n")).clips
    assert clips["path"].tolist() == [str(folder / "clips" / name) for name in ("a.mp4", "b.mp4")]


def test_absolute_paths_stay(folder):
    clips = read_manifest(write(folder, f"path,label\n{folder / 'clips' / 'a.mp4'},real\n")).clips
    assert clips["path"].tolist() == [str(folder / "clips" / "a.mp4")]


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("real", 0),
        ("fake", 1),
        ("0", 0),
        ("1", 1),
        (0, 0),
        (1, 1),
        (1.0, 1),
        ("REAL", 0),
        (" Fake ", 1),
        (True, 1),
        (False, 0),
    ],
)
def test_label_words(folder, word, label):
    table = TWO_CLIPS.iloc[:1].assign(label=[word])
    assert make_manifest(table, base=folder).clips["label"].tolist() == [label]


@pytest.mark.parametrize("word", ["2", "genuine", "", "-1", "0.5", "realfake"])
def test_an_unknown_label_is_refused_with_its_row(folder, word):
    path = write(folder, f"path,label\nclips/a.mp4,real\nclips/b.mp4,{word}\n")
    with pytest.raises(
        RequestError, match=r"Expected labels 0/real or 1/fake.*in row 2\b.*Correct the label"
    ):
        read_manifest(path)


def test_further_unknown_labels_are_counted(folder):
    path = write(folder, "path,label\nclips/a.mp4,x\nclips/b.mp4,y\nclips/c.mp4,z\n")
    with pytest.raises(RequestError, match=r"'x' in row 1 and 2 more"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("header", "missing"), [("path,identity", "label"), ("file,label", "path"), ("a,b", "path and label")]
)
def test_a_missing_column_is_named(folder, header, missing):
    with pytest.raises(RequestError, match=rf"got {header.replace(',', ', ')}\. Add {missing}\."):
        read_manifest(write(folder, f"{header}\nclips/a.mp4,real\n"))


def test_a_manifest_without_rows_is_refused(folder):
    with pytest.raises(RequestError, match="at least one clip"):
        read_manifest(write(folder, "path,label\n"))


def test_paths_that_do_not_exist_are_counted_and_the_first_named(folder):
    path = write(folder, "path,label\nclips/a.mp4,real\nclips/x.mp4,real\nclips/y.mp4,fake\n")
    with pytest.raises(RequestError, match=r"2 of \d+ paths name none, first .*clips/x\.mp4"):
        read_manifest(path)


def test_a_path_that_may_not_be_looked_at_is_left_to_whoever_reads_it(folder, monkeypatch):
    def forbidden(path, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("extract.manifest.os.stat", forbidden)
        manifest = make_manifest(TWO_CLIPS, base=folder)
    assert len(manifest.clips) == 2


def test_a_folder_is_not_a_clip(folder):
    with pytest.raises(RequestError, match=r"clips\.csv.*E_FILE_MISSING"):
        read_manifest(write(folder, "path,label\nclips,real\n"))


def test_a_manifest_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"nowhere\.csv, which does not exist"):
        read_manifest(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("name", "data"), [("m.parquet", b"not parquet"), ("m.csv", b""), ("m.csv", b'a,"\n')]
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RequestError, match="Expected a CSV or Parquet table"):
        read_manifest(tmp_path / name)


def test_a_byte_order_mark_from_a_spreadsheet_is_no_part_of_the_first_column(folder):
    path = folder / "clips.csv"
    path.write_text("path,label\nclips/a.mp4,real\n", encoding="utf-8-sig")
    assert read_manifest(path).clips["label"].tolist() == [0]


def test_extra_columns_are_carried_along_at_the_end(folder):
    path = write(folder, "camera,path,label,note\nphone,clips/a.mp4,real,x\nweb cam,clips/b.mp4,fake,\n")
    clips = read_manifest(path).clips
    assert list(clips.columns) == ["path", "label", *OPTIONAL, "camera", "note"]
    assert clips["camera"].tolist() == ["phone", "web cam"]


def test_an_empty_identity_stays_empty(folder):
    path = write(folder, "path,label,identity\nclips/a.mp4,real,007\nclips/b.mp4,fake,\n")
    assert read_manifest(path).clips["identity"].tolist() == ["007", ""]


def test_spaces_around_an_identity_are_no_part_of_it(folder):
    path = write(folder, "path,label,identity\nclips/a.mp4,real, anna b \nclips/b.mp4,fake,anna b\n")
    assert read_manifest(path).clips["identity"].tolist() == ["anna b", "anna b"]


@pytest.mark.parametrize("name", ["NA", "None", "null", "nan"])
def test_an_identity_may_be_any_word(folder, name):
    path = write(folder, f"path,label,identity\nclips/a.mp4,real,{name}\n")
    assert read_manifest(path).clips["identity"].tolist() == [name]


@pytest.mark.parametrize(
    "identities",
    [
        pd.Series(["7", None], dtype="str"),
        pd.Series([7, None], dtype="Int64"),
        pd.Series([7, None], dtype="float64"),
        pd.Series(["7", None], dtype="category"),
        pd.Series(["7", None], dtype="object"),
    ],
    ids=lambda identities: str(identities.dtype),
)
def test_a_parquet_manifest_with_a_missing_identity(folder, identities):
    TWO_CLIPS.assign(identity=identities).to_parquet(folder / "clips.parquet")
    assert read_manifest(folder / "clips.parquet").clips["identity"].tolist() == ["7", ""]


@pytest.mark.parametrize("name", ["again.csv", "again.parquet"])
def test_round_trip(folder, name):
    table = TWO_CLIPS.assign(identity=["p,1", ""], attack=["", 'Über "Swap"'], camera=["x", "y"])
    manifest = make_manifest(table, base=folder)
    write_manifest(manifest, folder / "elsewhere" / name)
    again = read_manifest(folder / "elsewhere" / name)
    pd.testing.assert_frame_equal(again.clips, manifest.clips)


def test_validating_leaves_the_callers_table_alone(folder):
    table = TWO_CLIPS.copy()
    make_manifest(table, base=folder)
    pd.testing.assert_frame_equal(table, TWO_CLIPS)


@pytest.mark.parametrize("column", ["label", "identity"])
def test_a_clip_has_one_label_and_one_identity(folder, column):
    table = TWO_CLIPS.assign(clip="scene 1", label="real", identity="p")
    table[column] = ["real", "fake"] if column == "label" else ["p", "q"]
    with pytest.raises(RequestError, match=rf"Expected one {column} a clip.*several in clip 'scene 1'"):
        make_manifest(table, base=folder)


def test_frames_of_one_clip_share_its_name(folder):
    table = TWO_CLIPS.assign(clip=["scene", "scene"], label="real", identity="p")
    assert make_manifest(table, base=folder).clips["clip"].tolist() == ["scene", "scene"]


@pytest.mark.parametrize(("word", "got"), [("real", "real clips only"), ("fake", "fake clips only")])
def test_one_class_only_is_refused(folder, word, got):
    manifest = make_manifest(TWO_CLIPS.assign(label=word), base=folder)
    with pytest.raises(RequestError, match=f"Expected real and fake clips.*got {got}"):
        check_classes(manifest)


def test_no_class_at_all_is_refused(folder):
    manifest = make_manifest(TWO_CLIPS, base=folder)
    with pytest.raises(RequestError, match="got none"):
        check_classes(Manifest(manifest.clips.iloc[:0], manifest.skipped))


def test_both_classes_pass(folder):
    assert check_classes(make_manifest(TWO_CLIPS, base=folder)) is None


def test_leaving_out_moves_a_file_to_the_skipped_ones(folder):
    manifest = make_manifest(TWO_CLIPS, base=folder)
    path = manifest.clips["path"][0]
    left = manifest.leave_out({path: DARK})
    assert left.clips["path"].tolist() == [manifest.clips["path"][1]]
    assert left.skipped.to_dict("records") == [
        {"path": path, "outcome": "skipped", "code": "E_TEST", "reason": "too dark"}
    ]
    assert len(manifest.clips) == 2


def test_remarks_keep_the_clip(folder):
    manifest = make_manifest(TWO_CLIPS, base=folder)
    path = manifest.clips["path"][0]
    remarked = manifest.remark({path: Reason("E_TEST", "cut short")})
    assert len(remarked.clips) == 2
    assert remarked.skipped.to_dict("records") == [
        {"path": path, "outcome": "partial", "code": "E_TEST", "reason": "cut short"}
    ]


def test_notes_stay_with_a_manifest(folder):
    manifest = dataclasses.replace(make_manifest(TWO_CLIPS, base=folder), notes=("Nobody is known.",))
    path = manifest.clips["path"][0]
    assert manifest.leave_out({path: DARK}).notes == ("Nobody is known.",)
    assert manifest.remark({path: DARK}).notes == ("Nobody is known.",)


def test_files_that_should_be_there_are_an_outcome_of_their_own():
    assert skip_table({"a.mp4": Reason("E_TEST", "in the list")}, "missing").to_dict("records") == [
        {"path": "a.mp4", "outcome": "missing", "code": "E_TEST", "reason": "in the list"}
    ]


def test_a_folder_is_no_manifest(tmp_path):
    with pytest.raises(RequestError, match="which is a folder"):
        read_manifest(tmp_path)
