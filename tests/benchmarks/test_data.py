import dataclasses

import pandas as pd
import pytest

from benchmarks.data import check_disjoint, identify_clips, read_clips, read_data
from benchmarks.suite import DataSettings
from extract.datasets.synthetic import SyntheticSettings
from extract.errors import RequestError
from extract.manifest import Manifest, skip_table


def read_all(suite, *, machine):
    clips = identify_clips(read_clips(suite, machine=machine), suite, machine=machine)
    return clips.own, clips.external


def manifest(*lines):
    clips = pd.DataFrame(lines, columns=["identity", "source_identity", "content"])
    return Manifest(clips, skip_table({}))


@pytest.fixture
def table(tmp_path):
    """Write files of the given bytes and a manifest of (name, label, identity); returns its path."""

    def write(*lines, name="clips.csv"):
        for file, _, _, content in lines:
            (tmp_path / file).write_bytes(content)
        rows = pd.DataFrame([line[:3] for line in lines], columns=["path", "label", "identity"])
        rows.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


def both_labels(count):
    """Lines of `count` persons with a real and a fake file each; the files are no images."""
    return [
        (f"{kind}{p}.png", kind, f"p{p}", f"{kind} {p}".encode())
        for p in range(count)
        for kind in ("real", "fake")
    ]


# -- what is said about identities ---------------------------------------------------------------------------


def test_a_folder_without_identity_says_so_in_one_line(training, machine, said):
    read = read_data(DataSettings(folder=training.parent), machine=machine)
    assert len(said) == 1
    assert "clips name no identity in the folder (name them with --identity REGEX)" in said[0]
    assert said[0].endswith("people who appear twice can be on both sides of a split.")
    assert "\n" not in said[0]
    assert set(read.clips["identity"]) == {""}


def test_a_folder_with_identity_says_nothing(training, machine, said):
    settings = DataSettings(folder=training.parent, identity=r"(p\d|copy|broken)", clip=r"(\w+?)(_\d)?\.")
    read = read_data(settings, machine=machine)
    assert said == []
    assert set(read.clips["identity"]) == {*(f"p{number}" for number in range(9)), "copy", "broken"}
    assert read.clips["clip"].nunique() == 9 * 2 + 2


def test_a_manifest_without_identities_says_so_in_one_line(table, machine, said):
    path = table(*((file, label, "", content) for file, label, _, content in both_labels(3)))
    read_data(DataSettings(manifest=path), machine=machine)
    assert len(said) == 1
    assert said[0].startswith("6 of 6 clips name no identity in the manifest")


def test_a_manifest_with_identities_says_nothing(table, machine, said):
    read_data(DataSettings(manifest=table(*both_labels(3))), machine=machine)
    assert said == []


def test_synthetic_clips_are_generated_once(machine, monkeypatch):
    settings = SyntheticSettings(identities=2, real_clips=1, fake_clips=0, frames=1, size=64)
    first = read_data(DataSettings(synthetic=settings), machine=machine)
    monkeypatch.setattr("extract.datasets.synthetic._make_clip", None)  # would fail if it were called
    again = read_data(DataSettings(synthetic=settings), machine=machine)
    assert len(first.clips) == 2
    pd.testing.assert_frame_equal(first.clips, again.clips)
    with pytest.raises(TypeError):
        read_data(DataSettings(synthetic=dataclasses.replace(settings, seed=1)), machine=machine)


# -- external data -------------------------------------------------------------------------------------------


def test_other_people_and_files_pass():
    check_disjoint(manifest(("ann", "bob", "1"), ("", "", "2")), manifest(("cid", "", "3"), ("", "dan", "4")))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("ann", "", "1"), ("ann", "", "2")),
        (("ann", "", "1"), ("bob", "ann", "2")),
        (("bob", "ann", "1"), ("ann", "", "2")),
        (("bob", "ann", "1"), ("cid", "ann", "2")),
    ],
)
def test_a_shared_person_is_refused_whoever_shows_the_face(ours, theirs):
    with pytest.raises(RequestError, match="it shares 1 identities with the training data, first ann"):
        check_disjoint(manifest(ours), manifest(theirs))


def test_shared_bytes_are_refused():
    ours, theirs = manifest(("ann", "", "1"), ("ann", "", "2")), manifest(("bob", "", "2"), ("bob", "", "1"))
    with pytest.raises(RequestError, match="it shares 2 files with the training data, first 1"):
        check_disjoint(ours, theirs)


@pytest.mark.parametrize("line", [("new.png", "real", "p0", b"new"), ("new.png", "real", "q0", b"real 0")])
def test_external_data_of_the_same_people_or_files_is_refused(line, table, tiny, machine):
    external = table(line, ("other.png", "fake", "q1", b"other"), name="external.csv")
    suite = tiny(data=table(*both_labels(3)), external=external)
    with pytest.raises(RequestError, match="Expected an external manifest of other people and files"):
        read_all(suite, machine=machine)


def test_both_manifests_come_back_with_contents(table, tiny, machine):
    external = table(("r.png", "real", "q0", b"r"), ("f.png", "fake", "q0", b"f"), name="external.csv")
    ours, theirs = read_all(tiny(data=table(*both_labels(3)), external=external), machine=machine)
    assert len(ours.clips) == 6
    assert len(theirs.clips) == 2
    assert set(ours.clips["content"]).isdisjoint(theirs.clips["content"])
    assert ours.clips["content"].str.fullmatch("[0-9a-f]{64}").all()


def test_without_external_data_there_is_none(table, tiny, machine):
    assert read_all(tiny(data=table(*both_labels(3))), machine=machine)[1] is None


# -- what cannot work is refused before it starts ------------------------------------------------------------


def test_a_suite_without_data_is_refused(tiny, machine):
    with pytest.raises(
        RequestError, match=r"Expected data; the suite names none\. Pass --data DIR or --manifest"
    ):
        read_all(tiny().model_copy(update={"data": None}), machine=machine)


@pytest.mark.parametrize(("kept", "word"), [("real", "real"), ("fake", "fake")])
def test_one_class_only_is_refused(kept, word, table, tiny, machine):
    lines = [line for line in both_labels(4) if line[1] == kept]
    with pytest.raises(RequestError, match=f"real and fake clips in manifest; got {word} clips only"):
        read_all(tiny(data=table(*lines)), machine=machine)


def test_an_external_manifest_of_one_class_is_refused(table, tiny, machine):
    external = table(("r.png", "real", "q0", b"r"), name="external.csv")
    with pytest.raises(RequestError, match="in the external manifest; got real clips only"):
        read_all(tiny(data=table(*both_labels(3)), external=external), machine=machine)


def test_one_class_left_without_empty_files_is_refused(table, tiny, machine):
    lines = [(file, label, who, b"" if label == "fake" else b) for file, label, who, b in both_labels(3)]
    with pytest.raises(RequestError, match=r"without empty and repeated files.*; got real clips only"):
        read_all(tiny(data=table(*lines)), machine=machine)


def test_the_same_bytes_under_two_labels_are_refused(table, tiny, machine):
    lines = [*both_labels(3), ("again.png", "fake", "p0", b"real 0")]
    with pytest.raises(
        RequestError, match=r"one label for the same bytes; got both for .*real0.* and .*again"
    ):
        read_all(tiny(data=table(*lines)), machine=machine)


def test_impossible_folds_are_refused_before_a_face_is_searched(table, tiny, machine):
    # The files are no images: had anything been decoded, the message would be about that.
    with pytest.raises(
        RequestError, match=r"at least 5 groups of identities with real clips for 5 folds .* got 4"
    ):
        read_all(tiny(data=table(*both_labels(4)), folds=5), machine=machine)
    assert not (machine.store.root / "faces").exists()


def test_a_missing_manifest_is_refused(tiny, machine, tmp_path):
    with pytest.raises(RequestError, match=r"no\.csv, which does not exist"):
        read_all(tiny(data=tmp_path / "no.csv"), machine=machine)
