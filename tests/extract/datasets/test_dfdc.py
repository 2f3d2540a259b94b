import json
import time

import pytest

from extract.datasets.dfdc import read_dfdc
from extract.datasets.registry import recognise
from extract.errors import RequestError


def real(split="train"):
    return {"label": "REAL", "split": split, "original": None}


def fake(original, split="train"):
    return {"label": "FAKE", "split": split, "original": original}


PART = {"a.mp4": real(), "b.mp4": fake("a.mp4"), "c.mp4": fake("a.mp4", "test"), "d.mp4": real()}


def test_families_are_identities(make_dfdc, column):
    root = make_dfdc(part0=PART, part1={"e.mp4": real(), "f.mp4": fake("e.mp4")})
    manifest = read_dfdc(root)
    assert column(manifest, "identity") == {
        "dfdc_train_part_0/a.mp4": "dfdc/a",
        "dfdc_train_part_0/b.mp4": "dfdc/a",
        "dfdc_train_part_0/c.mp4": "dfdc/a",
        "dfdc_train_part_0/d.mp4": "dfdc/d",
        "dfdc_train_part_1/e.mp4": "dfdc/e",
        "dfdc_train_part_1/f.mp4": "dfdc/e",
    }
    assert list(column(manifest, "label").values()) == [0, 1, 1, 0, 0, 1]
    assert list(column(manifest, "attack").values()) == ["", "DFDC", "DFDC", "", "", "DFDC"]
    assert list(column(manifest, "split").values()) == ["train", "train", "test", "train", "train", "train"]
    assert set(manifest.clips["source_identity"]) == {""}
    assert set(manifest.clips["dataset"]) == {"dfdc"}
    assert "people recur within a part" in manifest.notes[0]
    assert manifest.skipped.empty


def test_parts_are_a_stricter_grouping(make_dfdc, column):
    root = make_dfdc(part0=PART, part1={"e.mp4": real()})
    manifest = read_dfdc(root, group="part")
    assert set(manifest.clips["identity"]) == {"dfdc/dfdc_train_part_0", "dfdc/dfdc_train_part_1"}
    assert column(manifest, "part") == {path: path.split("/")[0] for path in column(read_dfdc(root), "part")}
    assert manifest.notes == ()


def test_an_unknown_group_is_refused(make_dfdc):
    with pytest.raises(RequestError, match=r"known group of DFDC; got 'parts'\. Did you mean 'part'"):
        read_dfdc(make_dfdc(part0=PART), group="parts")


def test_one_part_is_enough(make_dfdc, column):
    root = make_dfdc(part0=PART) / "dfdc_train_part_0"
    assert recognise(root) == "dfdc"
    manifest = read_dfdc(root)
    assert len(manifest.clips) == 4
    assert set(column(manifest, "part").values()) == {"dfdc_train_part_0"}


def test_parts_as_archives_unpack(make_dfdc):
    root = make_dfdc(part0=PART)
    inner = root / "dfdc_train_part_00"
    inner.mkdir()
    (root / "dfdc_train_part_0").rename(inner / "dfdc_train_part_0")
    assert recognise(root) == "dfdc"
    assert len(read_dfdc(root).clips) == 4


def test_a_part_of_another_name_shows_in_its_metadata(make_dfdc):
    root = make_dfdc(part0=PART)
    (root / "dfdc_train_part_0").rename(root / "train_sample_videos")
    assert recognise(root / "train_sample_videos") == "dfdc"


def test_parts_are_in_the_order_of_their_numbers(make_dfdc, column):
    root = make_dfdc(part10={"b.mp4": real()}, part9={"a.mp4": real()})
    assert list(column(read_dfdc(root), "identity").values()) == ["dfdc/a", "dfdc/b"]


@pytest.mark.parametrize("original", [None, "", 7, " "])
def test_a_fake_without_an_original_is_left_out(make_dfdc, left, original):
    manifest = read_dfdc(make_dfdc(part0={**PART, "x.mp4": fake(original)}))
    assert len(manifest.clips) == 4
    assert left(manifest) == {
        "dfdc_train_part_0/x.mp4": "no original in the metadata, so its family is unknown"
    }


def test_originals_in_no_metadata_are_counted(make_dfdc, column):
    part = {**PART, "x.mp4": fake("gone.mp4"), "y.mp4": fake("gone.mp4"), "z.mp4": fake("lost.mp4")}
    manifest = read_dfdc(make_dfdc(part0=part))
    assert column(manifest, "identity")["dfdc_train_part_0/y.mp4"] == "dfdc/gone"
    assert manifest.notes[1].startswith("Originals in no metadata.json: 2, first gone.mp4;")


def test_files_that_are_missing_or_that_no_entry_explains(make_dfdc, left):
    root = make_dfdc(part0={**PART, "extra.mp4": None})
    (root / "dfdc_train_part_0" / "b.mp4").unlink()
    (root / "notes").mkdir()
    manifest = read_dfdc(root)
    assert left(manifest) == {
        "dfdc_train_part_0/extra.mp4": "in no metadata.json; no rule explains it",
        "notes": "a folder; no rule explains it",
    }
    assert left(manifest, "missing") == {"dfdc_train_part_0/b.mp4": "in its part's metadata.json"}


def test_a_fake_made_from_a_fake_is_refused_naming_both(make_dfdc):
    root = make_dfdc(part0={**PART, "x.mp4": fake("b.mp4")})
    with pytest.raises(RequestError, match=r"REAL original of x\.mp4 .*part_0; got b\.mp4, which is FAKE"):
        read_dfdc(root)


def test_a_name_with_two_labels_is_refused_naming_both_parts(make_dfdc):
    root = make_dfdc(part0=PART, part1={"d.mp4": fake("a.mp4")})
    with pytest.raises(RequestError, match=r"got d\.mp4 as REAL in .*part_0 and FAKE in .*part_1"):
        read_dfdc(root)


def test_a_name_in_two_parts_with_one_label_is_two_files(make_dfdc):
    assert len(read_dfdc(make_dfdc(part0=PART, part1=PART)).clips) == 8


@pytest.mark.parametrize("label", ["fake", "GENUINE", None, 1])
def test_an_unknown_label_is_refused(make_dfdc, label):
    root = make_dfdc(part0={"a.mp4": {"label": label, "split": "train"}})
    with pytest.raises(RequestError, match=r"label REAL or FAKE of a\.mp4 in .*part_0/metadata\.json; got"):
        read_dfdc(root)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"a.mp4": "FAKE!"}', "\udcff"])
def test_broken_metadata_is_refused_with_the_file(make_dfdc, text):
    root = make_dfdc(part0=PART)
    (root / "dfdc_train_part_0" / "metadata.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RequestError, match=r"Expected .*dfdc_train_part_0/metadata\.json; got"):
        read_dfdc(root)


@pytest.mark.slow
def test_the_size_of_the_whole_set(make_dfdc):
    families = [f"{number:05d}" for number in range(20_000)]
    entries = {f"{name}.mp4": real() for name in families}
    entries |= {f"{name}{n}.mp4": fake(f"{name}.mp4") for name in families for n in range(5)}
    root = make_dfdc(part0=entries)
    start = time.perf_counter()
    manifest = read_dfdc(root)
    assert len(manifest.clips) == 120_000
    assert time.perf_counter() - start < 60


def test_the_metadata_of_other_things_is_none(tmp_path):
    (tmp_path / "metadata.json").write_text(json.dumps({"a.mp4": {"label": 3}}))
    with pytest.raises(RequestError, match="Expected a known layout"):
        recognise(tmp_path)
