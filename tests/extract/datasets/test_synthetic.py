import shutil
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from extract.datasets import synthetic
from extract.datasets.drawing.persons import make_person, make_poses
from extract.datasets.filming import DrawnSubject, film
from extract.datasets.forgeries import Forger, face_mask, faceswap, find_landmarks, resample, selfblend
from extract.datasets.synthetic import SyntheticSettings, begun, generate
from extract.errors import RequestError
from extract.manifest import read_manifest

TINY = SyntheticSettings(identities=4, real_clips=1, fake_clips=2, frames=4)
MIDDLE, UNIT = np.array([0.5, 0.46]) * 256, 0.185 * 256  # where a drawn face is, and half its width


def content(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def decode(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    return np.stack(frames), capture.get(cv2.CAP_PROP_FPS)


def clips(folder):
    return pd.read_csv(folder / "clips.csv", keep_default_na=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert generate(TINY, folder) == folder / "clips.csv"
    return folder


@pytest.fixture(scope="module")
def filmed():
    """Two persons in the same poses, with their landmarks."""
    poses = make_poses(np.random.default_rng(5), 2)
    both = []
    for number in (1, 2):
        rng = np.random.default_rng(number)
        frames = film(DrawnSubject("someone", make_person(rng)), poses, size=256, rng=rng)
        both.append((frames, find_landmarks(frames)))
    return both


def forge(attack, filmed, by):
    (frames, landmarks), (donors, theirs) = filmed
    if attack == "faceswap":
        return faceswap(frames[0], landmarks[0], donor=donors[0], donor_landmarks=theirs[0], by=by)
    return {"selfblend": selfblend, "resample": resample}[attack](frames[0], landmarks[0], by=by)


def test_manifest_lists_every_clip_with_its_labels(demo):
    table = clips(demo)
    assert list(table) == ["path", "label", "identity", "source_identity", "attack", "dataset", "split"]
    assert len(table) == 4 * 3
    assert (table["label"] == table["path"].str.startswith("fake/")).all()
    assert set(table["dataset"]) == {"synthetic"}
    assert set(table["split"]) == {""}
    assert (table.loc[table["label"] == 0, ["source_identity", "attack"]] == "").all(axis=None)
    assert set(table["attack"]) == {"", "faceswap", "selfblend", "resample"}


def test_manifest_is_read_by_the_product(demo):
    assert len(read_manifest(demo / "clips.csv").clips) == 12


def test_faces_are_swapped_within_groups_only(demo):
    group = {f"person{number:03d}": number // 2 for number in range(4)}
    fakes = clips(demo).query("label == 1")
    assert (fakes["identity"].map(group) == fakes["source_identity"].map(group)).all()
    assert ((fakes["identity"] != fakes["source_identity"]) == (fakes["attack"] == "faceswap")).all()


def test_default_plan_gives_each_attack_the_same_number_of_clips():
    settings = SyntheticSettings()
    plan = synthetic._plan(settings, [str(number) for number in range(settings.identities)])
    assert len(plan) == 96
    attacks = [clip.attack for clip in plan if clip.label]
    assert {attack: attacks.count(attack) for attack in attacks} == dict.fromkeys(synthetic.ATTACKS, 16)


@pytest.mark.parametrize(("identities", "group_size"), [(5, 2), (7, 3), (3, 3), (8, 3)])
def test_every_identity_has_somebody_to_swap_with(identities, group_size):
    settings = SyntheticSettings(identities=identities, group_size=group_size, fake_clips=3)
    plan = synthetic._plan(settings, [str(number) for number in range(identities)])
    last = identities // group_size - 1
    for clip in plan:
        assert (clip.source != clip.identity) == (clip.attack == "faceswap")
        assert min(clip.source // group_size, last) == min(clip.identity // group_size, last)


def test_clips_decode_to_the_stated_frames(demo):
    for path in clips(demo)["path"]:
        frames, rate = decode(demo / path)
        assert frames.shape == (4, 256, 256, 3)
        assert rate == 12


def test_a_face_is_found_in_every_frame_and_where_it_is(demo):
    for path in clips(demo)["path"]:
        frames, _ = decode(demo / path)
        chances = synthetic_chances(frames)
        assert min(chances) > 0.9
        assert np.abs(find_landmarks(frames).mean(1) - MIDDLE).max() < UNIT


def synthetic_chances(frames):
    from facenet_pytorch import MTCNN

    _, chances = MTCNN(keep_all=False, post_process=False, device="cpu").detect(frames)
    return [found[0] or 0.0 for found in chances]


def test_a_killed_run_continues_to_the_same_bytes(demo, tmp_path):
    whole, folder = content(demo), tmp_path / "demo"
    shutil.copytree(demo, folder)
    victims = clips(demo).drop_duplicates(["label", "attack"])["path"]
    for path in [*victims, "clips.csv"]:
        (folder / path).unlink()
    (folder / "fake" / ".person000_1.77.partial.mp4").write_bytes(b"half a clip")
    generate(TINY, folder)
    assert content(folder) == whole


def test_what_follows_gets_the_clips_that_are_there(demo):
    given = []
    synthetic._make_first(TINY, demo, given.extend)
    assert given == [demo / path for path in clips(demo)["path"]]


def test_what_another_process_began_is_finished_with_the_same_bytes(demo, tmp_path):
    with begun(TINY, tmp_path, workers=2):
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob("[!.]*.mp4")) and time.monotonic() < deadline:
            time.sleep(0.05)
        generate(TINY, tmp_path)
    assert content(tmp_path) == content(demo)


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_begun_by_one_worker_or_where_all_is_there(demo, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(synthetic, "ahead", None)
    with begun(TINY, demo if workers > 1 else tmp_path, workers=workers):
        pass
    assert not content(tmp_path)


def test_a_clip_that_was_made_meanwhile_is_not_made_again(demo, monkeypatch):
    monkeypatch.setattr(synthetic, "_make_clip", None)
    for clip in synthetic._plan(TINY, [f"person{number:03d}" for number in range(4)]):
        synthetic._make(clip, settings=TINY, folder=demo)


def test_the_manifest_comes_last_and_a_clip_is_complete_or_absent(tmp_path, monkeypatch):
    made = []

    def killed(clip, subjects, settings):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(clip.path)
        return np.zeros((settings.frames, settings.size, settings.size, 3), np.uint8)

    monkeypatch.setattr(synthetic, "_make_clip", killed)
    with pytest.raises(KeyboardInterrupt):
        generate(TINY, tmp_path)
    assert set(content(tmp_path)) == {*made, "settings.json"}


def test_another_call_makes_nothing(demo, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    monkeypatch.setattr(synthetic, "_make_clip", None)
    monkeypatch.setattr(synthetic, "write_bytes", None)
    generate(TINY, demo)
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


def test_a_clip_does_not_depend_on_the_number_of_identities(demo, tmp_path):
    generate(replace(TINY, identities=2), tmp_path)
    whole = content(demo)
    part = {path: data for path, data in content(tmp_path).items() if path.endswith(".mp4")}
    assert len(part) == 6
    assert part == {path: whole[path] for path in part}


def test_a_folder_of_other_settings_is_refused(demo):
    with pytest.raises(RequestError, match=r"got clips of other settings .* Choose another folder"):
        generate(replace(TINY, seed=1), demo)


@pytest.mark.parametrize("attack", synthetic.ATTACKS)
def test_a_forgery_changes_the_face_and_nothing_else(attack, filmed):
    by = Forger.choose(np.random.default_rng(0))
    (frames, landmarks), _ = filmed
    forged, mask = forge(attack, filmed, by), face_mask(frames[0], landmarks[0], by)
    difference = np.abs(forged.astype(int) - frames[0]).mean(-1)
    assert forged.dtype == np.uint8
    assert difference[mask == 0].max() == 0
    assert difference[mask > 0.9].mean() > 0.5
    assert 0.03 < (mask > 0).mean() < 0.3


def test_a_swap_shows_the_donor(filmed):
    by = replace(Forger.choose(np.random.default_rng(0)), network=1.01)
    (frames, landmarks), (donors, theirs) = filmed
    inside = face_mask(donors[0], theirs[0], by) > 0.95
    swapped = faceswap(frames[0], landmarks[0], donor=donors[0], donor_landmarks=theirs[0], by=by)
    itself = faceswap(donors[0], theirs[0], donor=donors[0], donor_landmarks=theirs[0], by=by)
    assert np.abs(itself.astype(int) - donors[0])[inside].mean() < 3
    inside = face_mask(frames[0], landmarks[0], by) > 0.95
    assert np.abs(swapped.astype(int) - frames[0])[inside].mean() > 3


def test_missing_landmarks_come_from_the_nearest_frame(filmed):
    frames, landmarks = filmed[0]
    gap = np.stack([frames[0], np.full_like(frames[0], 128), np.full_like(frames[0], 128), frames[1]])
    np.testing.assert_allclose(find_landmarks(gap), landmarks[[0, 0, 1, 1]], atol=0.25)


def test_a_small_face_is_found_where_there_is_no_large_one(filmed):
    frames, landmarks = filmed[0]
    small = np.full_like(frames, 128)
    small[:, 80:176, 80:176] = [cv2.resize(f, (96, 96), interpolation=cv2.INTER_AREA) for f in frames]
    np.testing.assert_allclose(find_landmarks(small), 80 + landmarks * 96 / 256, atol=2)


def test_a_clip_without_a_face_is_not_passed_off_as_fake():
    with pytest.raises(RuntimeError, match=r"Expected a face in at least one frame; MTCNN found none"):
        find_landmarks(np.full((2, 128, 128, 3), 128, np.uint8))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"identities": 1}, "Expected identities of at least 2; got 1"),
        ({"group_size": 1}, "Expected group_size of at least 2; got 1"),
        ({"frames": 0}, "Expected frames of at least 1; got 0"),
        ({"size": 255}, "Expected an even size; got 255"),
        ({"identitys": 3}, "identitys"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SyntheticSettings(**wrong)


def test_too_few_portraits_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    settings = SyntheticSettings(portraits=tmp_path, identities=2)
    with pytest.raises(RequestError, match=r"Expected at least 2 portraits in .*; got 1\. Add images"):
        generate(settings, tmp_path / "out")


def test_photographs_take_the_place_of_drawn_persons(shared, tmp_path):
    settings = replace(TINY, portraits=shared("data/portraits"), identities=2)
    generate(settings, tmp_path)
    table = clips(tmp_path)
    names = sorted(path.stem for path in Path(settings.portraits).glob("*.jpg"))[:2]
    assert sorted(set(table["identity"])) == names
    assert set(table["dataset"]) == {"portraits"}
    for path in table["path"]:
        assert min(synthetic_chances(decode(tmp_path / path)[0])) > 0.9
