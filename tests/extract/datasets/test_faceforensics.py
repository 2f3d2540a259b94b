import pytest

from extract.datasets.faceforensics import SAME_VIDEO, read_faceforensics
from extract.datasets.registry import recognise
from extract.errors import RequestError

YOUTUBE = "original_sequences/youtube"
ACTORS = "original_sequences/actors"


def fakes(attack, compression="c23"):
    return f"manipulated_sequences/{attack}/{compression}/videos"


OFFICIAL = (
    f"{YOUTUBE}/c23/videos/071.mp4",
    f"{fakes('Deepfakes')}/071_054.mp4",
    f"{fakes('FaceSwap')}/054_071.mp4",
    f"{ACTORS}/c23/videos/01__exit_phone_room.mp4",
    f"{fakes('DeepFakeDetection')}/01_02__outside_talking_still_laughing__YVGY8LOK.mp4",
)
FLAT = ("original/071.mp4", "Deepfakes/071_054.mp4", "DeepFakeDetection/01_02__exit_phone_room__YVGY8LOK.mp4")


def test_the_full_tree_has_the_official_splits(full_faceforensics):
    manifest = read_faceforensics(full_faceforensics)
    clips = manifest.clips
    originals = clips[clips["label"] == 0]
    assert originals["split"].value_counts().to_dict() == {"train": 720, "val": 140, "test": 140}
    per_attack = clips[clips["label"] == 1].groupby("attack")["split"].value_counts().unstack()
    assert per_attack.to_dict("records") == [{"test": 140, "train": 720, "val": 140}] * 5
    assert clips["identity"].nunique() == 1000 - 23
    assert manifest.skipped.empty


def test_reused_videos_are_one_person_and_seven_straddle_the_splits(full_faceforensics):
    manifest = read_faceforensics(full_faceforensics)
    (note,) = manifest.notes
    assert (
        "which count as one identity: 22. Straddling the official splits: 7 (605 train and 606 val; " in note
    )
    clips = manifest.clips
    stems = clips["path"].str.extract(r"/(\d{3})(?:_(\d{3}))?\.mp4$")
    people = dict(zip(stems[0], clips["identity"], strict=True))
    assert people["687"] == people["686"] == people["685"] == "faceforensics/685"
    assert sum(len(group) for group in SAME_VIDEO) == 45
    sources = dict(zip(stems[1], clips["source_identity"], strict=True))
    assert sources["606"] == people["605"]
    splits = clips[clips["label"] == 0].groupby("identity")["split"].nunique()
    assert int((splits > 1).sum()) == 7


def test_the_full_tree_is_recognised(full_faceforensics):
    assert recognise(full_faceforensics) == "faceforensics"


def test_only_the_sequences_present_straddle(make):
    pair = [f"{YOUTUBE}/c23/videos/{number}.mp4" for number in ("331", "332", "605")]
    notes = read_faceforensics(make(*pair)).notes
    assert notes == (
        "Videos cut into several sequences, which count as one identity: 1. Straddling the official splits: 0.",
    )


def test_people_are_target_and_source(make, column):
    manifest = read_faceforensics(make(*OFFICIAL))
    assert column(manifest, "identity") == dict(
        zip(
            OFFICIAL,
            (f"faceforensics/{who}" for who in ("071", "071", "054", "actor01", "actor01")),
            strict=True,
        )
    )
    assert set(column(manifest, "source_identity").items()) >= {
        (OFFICIAL[0], ""),
        (OFFICIAL[1], "faceforensics/054"),
        (OFFICIAL[4], "faceforensics/actor02"),
    }
    assert column(manifest, "attack") == dict(
        zip(OFFICIAL, ("", "Deepfakes", "FaceSwap", "", "DeepFakeDetection"), strict=True)
    )
    assert list(column(manifest, "label")[name] for name in OFFICIAL) == [0, 1, 1, 0, 1]


def test_actors_are_in_no_official_split(make, column):
    manifest = read_faceforensics(make(*OFFICIAL))
    assert column(manifest, "split") == dict(zip(OFFICIAL, ("train", "train", "train", "", ""), strict=True))
    assert manifest.notes == ("Clips in no official split: 2 (DeepFakeDetection 1, originals 1).",)


def test_a_swap_that_is_not_official_is_in_no_split(make, column):
    name = f"{fakes('Deepfakes')}/071_720.mp4"
    assert column(read_faceforensics(make(*OFFICIAL, name)), "split")[name] == ""


@pytest.mark.parametrize(("home", "root"), [("", ""), ("FaceForensics++_C23/", ""), ("set/ff-c23/", "set")])
def test_the_flat_layout_from_the_folder_or_its_parent(make, column, left, home, root):
    names = [f"{home}{name}" for name in FLAT]
    start = make(*names, f"{home}csv/FF++_Metadata.csv") / root
    assert recognise(start) == "faceforensics"
    manifest = read_faceforensics(start)
    assert [column(manifest, "label")[name] for name in names] == [0, 1, 1]
    assert left(manifest) == {}


def test_a_flat_folder_says_its_compression(make):
    root = make(*(f"FaceForensics++_C23/{name}" for name in FLAT))
    assert len(read_faceforensics(root, compression="c23").clips) == 3
    with pytest.raises(RequestError, match=r"Expected compression c40 in .*; got c23\. Choose what is there"):
        read_faceforensics(root, compression="c40")


def test_a_flat_folder_that_does_not_say_its_compression(make):
    with pytest.raises(RequestError, match="got one that its folders do not name"):
        read_faceforensics(make(*FLAT), compression="c23")


def test_several_compressions_need_a_choice(make, column):
    other = (f"{YOUTUBE}/c40/videos/071.mp4", f"{fakes('Deepfakes', 'c40')}/071_054.mp4")
    root = make(*OFFICIAL, *other)
    with pytest.raises(RequestError, match=r"Expected one compression .*got c23, c40\. Pass --compression"):
        read_faceforensics(root)
    assert set(column(read_faceforensics(root, compression="c23"), "label")) == set(OFFICIAL)
    chosen = read_faceforensics(root, compression="c40")
    assert set(column(chosen, "label")) == set(other)
    assert not chosen.skipped["outcome"].eq("skipped").any(), "what is not chosen is explained all the same"


@pytest.mark.parametrize("asked", ["c40", "c99"])
def test_a_compression_that_is_not_there_is_refused_with_those_that_are(make, asked):
    with pytest.raises(RequestError, match=rf"Expected compression {asked} .*; got c23\."):
        read_faceforensics(make(*OFFICIAL), compression=asked)


@pytest.mark.parametrize("asked", [None, "raw", "c0"])
@pytest.mark.parametrize("written", ["raw", "c0"])
def test_c0_is_another_name_of_raw(make, asked, written):
    root = make(f"{YOUTUBE}/{written}/videos/071.mp4", f"{fakes('Deepfakes', written)}/071_054.mp4")
    assert len(read_faceforensics(root, compression=asked).clips) == 2


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        (None, OFFICIAL),
        (["Deepfakes"], OFFICIAL[:2]),
        (["FaceSwap", "Deepfakes"], OFFICIAL[:3]),
        (["DeepFakeDetection"], (OFFICIAL[0], *OFFICIAL[3:])),
    ],
)
def test_a_choice_of_manipulations_keeps_their_originals(make, column, chosen, kept):
    manifest = read_faceforensics(make(*OFFICIAL), manipulations=chosen)
    assert set(column(manifest, "label")) == set(kept)


def test_all_manipulations_keep_the_actors_without_fakes_of_theirs(make, column):
    assert set(column(read_faceforensics(make(*OFFICIAL[:4])), "label")) == set(OFFICIAL[:4])


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("deepfakes", "'Deepfakes'"), ("FaceShifter", "Choose one of: .*FaceSwap"), ("NT", "Choose one of")],
)
def test_a_manipulation_that_is_not_there_is_refused_with_the_nearest(make, asked, hint):
    with pytest.raises(RequestError, match=rf"known manipulation in .*got '{asked}'.*{hint}"):
        read_faceforensics(make(*OFFICIAL), manipulations=["Deepfakes", asked])


def test_names_and_files_that_no_rule_explains_are_listed(make, left):
    root = make(
        *OFFICIAL,
        f"{YOUTUBE}/c23/videos/71.mp4",
        f"{YOUTUBE}/c23/videos/071_054.mp4",
        f"{fakes('Deepfakes')}/071.mp4",
        f"{fakes('Deepfakes')}/071_054 (1).mp4",
        f"{fakes('Deepfakes')}/071_054.png",
        f"{ACTORS}/c23/videos/01_exit.mp4",
        f"{fakes('DeepFakeDetection')}/01_02__exit_phone_room.mp4",
        "manipulated_sequences/Deepfakes/c23/frames/071_054/0.png",
        "manipulated_sequences/Deepfakes/masks/videos/071_054.mp4",
        "manipulated_sequences/MyOwn/c23/videos/071_054.mp4",
        "download.py",
        ".DS_Store",
        f"{fakes('Deepfakes')}/._071_054.mp4",
    )
    assert left(read_faceforensics(root)) == {
        "download.py": "no rule explains it",
        "manipulated_sequences/Deepfakes/c23/frames": "a folder; no rule explains it",
        "manipulated_sequences/MyOwn": "a folder; no rule explains it",
        f"{ACTORS}/c23/videos/01_exit.mp4": "no FaceForensics++ name: expected <actor>__<scene>.mp4",
        f"{YOUTUBE}/c23/videos/71.mp4": "no FaceForensics++ name: expected <target>.mp4",
        f"{YOUTUBE}/c23/videos/071_054.mp4": "no FaceForensics++ name: expected <target>.mp4",
        f"{fakes('DeepFakeDetection')}/01_02__exit_phone_room.mp4": (
            "no FaceForensics++ name: expected <target>_<source>__<scene>__<id>.mp4"
        ),
        f"{fakes('Deepfakes')}/071.mp4": "no FaceForensics++ name: expected <target>_<source>.mp4",
        f"{fakes('Deepfakes')}/071_054 (1).mp4": "no FaceForensics++ name: expected <target>_<source>.mp4",
        f"{fakes('Deepfakes')}/071_054.png": "not a video by its name",
    }


def test_videos_that_the_official_lists_have_are_missing(make, left):
    missing = left(read_faceforensics(make(*OFFICIAL)), "missing")
    assert len(missing) == 3 * 999, "of the actors' videos there is no list"
    assert missing[f"{YOUTUBE}/c23/videos/000.mp4"] == "in the official lists of youtube"
    assert f"{fakes('Deepfakes')}/054_071.mp4" in missing
    assert OFFICIAL[1] not in missing


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (("original_sequences/a.txt",), {}),
        (("original_sequences/a.txt",), {"compression": "c23", "manipulations": ["Deepfakes"]}),
        (("original/071/0.png", "Deepfakes/071_054/0.png"), {"manipulations": ["Deepfakes"]}),
    ],
)
def test_folders_without_videos_are_refused(make, names, options):
    with pytest.raises(RequestError, match=r"Expected FaceForensics\+\+ videos .*got none \(other"):
        read_faceforensics(make(*names), **options)
