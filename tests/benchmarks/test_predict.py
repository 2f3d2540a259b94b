import weakref
from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.predict import WAITING, FaceScore, Looked, Prediction, predict
from benchmarks.show import annotate, describe, expand
from extract.errors import RequestError
from extract.extractors import BATCH
from extract.faces import Detection, FaceSettings, read_clip
from extract.media.frames import Frames

SETTINGS = FaceSettings(size=16, margin=0.0, select="all", frames=3)


def find(frames):
    """Find as many faces in a frame as its first pixel says; the shade of each is its number, from 1."""
    return [[detection(k) for k in range(frame[0, 0, 0])] for frame in frames]


def detection(k):
    return Detection(np.array([8 * k, 16, 8 * k + 8, 24], np.float32), 0.95, np.zeros((5, 2), np.float32))


def picture(*shades):
    """Draw faces of these shades side by side below a first pixel that says how many there are."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[0, 0] = len(shades)
    for k, shade in enumerate(shades):
        image[16:24, 8 * k : 8 * k + 8] = shade
    return image


def judge(looked, scores):
    faces = tuple(
        FaceScore(int(f), (0, 0, 1, 1), 1.0, s, size=99, sharpness=500, outside=0)
        for f, s in zip(looked.faces.frames, scores, strict=True)
    )
    score = float(np.mean(scores)) if len(scores) else None
    verdict = "unreadable" if looked.error else "fake"
    return Prediction(looked.name, verdict, score, None, 0.0, faces, looked.error, looked.code)


@pytest.fixture
def stream():
    """Predict with shades as scores; returns the call and the sizes of its batches."""
    sizes = []

    def score(crops):
        sizes.append(len(crops))
        return crops.reshape(len(crops), -1).mean(1)

    return lambda inputs: predict(inputs, settings=SETTINGS, find=find, score=score, judge=judge), sizes


def write(path, image):
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


@pytest.mark.parametrize("counts", [[1] * 40, [0] * 5, [3, 0, 7, 1, 0, 0, 7, 7, 7, 7, 1], [1], []])
def test_every_face_goes_to_its_own_file_in_the_files_order(stream, counts):
    call, _ = stream
    shades = iter(range(10, 250))
    wanted = [[next(shades) for _ in range(count)] for count in counts]
    found = list(call(picture(*mine) for mine in wanted))
    assert [[face.score for face in prediction.faces] for prediction in found] == wanted
    assert [prediction.name for prediction in found] == [f"image {number}" for number in range(len(counts))]


def test_single_images_share_batches(stream):
    call, sizes = stream
    assert len(list(call(picture(7) for _ in range(40)))) == 40
    assert sizes == [BATCH, BATCH, 8]


def test_predictions_come_while_inputs_are_still_taken(stream):
    call, _ = stream
    taken = []

    def inputs():
        for number in range(1000):
            taken.append(number)
            yield picture(7)

    next(call(inputs()))
    assert len(taken) == BATCH


def test_a_face_does_not_wait_for_ever_behind_files_without_one(stream):
    call, sizes = stream
    taken = []

    def inputs():
        yield picture(7)
        for number in range(1000):
            taken.append(number)
            yield picture()

    assert next(call(inputs())).faces[0].score == 7
    assert len(taken) == WAITING
    assert sizes == [1]


def test_files_that_cannot_be_read_do_not_end_the_stream(stream, tmp_path):
    call, _ = stream
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "empty.png").write_bytes(b"")
    good = write(tmp_path / "good.png", picture(100))
    names = ["broken.jpg", "broken.mp4", "empty.png", "gone.png", "gone.mp4", "", "a\0b.png"]
    found = list(call([*(tmp_path / name for name in names), str(good)]))
    assert [p.verdict for p in found] == ["unreadable"] * len(names) + ["fake"]
    assert all(p.note and p.score is None for p in found[:-1])
    assert "No such file" in found[3].note
    assert [p.code for p in found[:3]] == ["E_CLIP_UNREADABLE", "E_CLIP_UNREADABLE", "E_CLIP_EMPTY"]
    assert [p.code for p in found[3:]] == ["E_CLIP_NOT_READ"] * 2 + [found[5].code, "E_CLIP_UNREADABLE", ""]
    assert not any("E_" in p.note for p in found)
    assert found[-1].name == str(good)


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((4, 4)),
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        3,
        None,
    ],
)
def test_what_is_no_picture_is_refused(stream, given):
    call, _ = stream
    with pytest.raises(RequestError, match="Expected"):
        list(call([given]))


# -- for people --------------------------------------------------------------------------------------------------


FACE = FaceScore(0, (1.0, 2.0, 30.0, 40.0), 0.987, 0.75, size=38.0, sharpness=500.0, outside=0.0)
PREDICTION = Prediction("a.png", "fake", 0.75, None, 0.5, (FACE,), "a note")


def test_a_line_says_verdict_score_threshold_faces_and_name():
    assert list(describe(PREDICTION)) == [
        "fake        score 0.7500  threshold 0.5000  1 face  a.png  (a note)"
    ]
    lines = list(describe(PREDICTION, every_face=True))
    assert lines[1:] == ["  frame 0  box 1, 2, 30, 40  confidence 0.987  score 0.7500"]


def test_a_line_says_what_is_poor_about_a_face():
    face = replace(FACE, note="small: 38 pixels")
    lines = list(describe(replace(PREDICTION, faces=(face,)), every_face=True))
    assert lines[1].endswith("score 0.7500  (small: 38 pixels)")


@pytest.mark.parametrize(
    ("note", "shown"), [("cut off", "(cut off [E_CLIP_DAMAGED])"), ("", "([E_CLIP_DAMAGED])")]
)
def test_a_line_without_a_verdict_has_the_code(note, shown):
    (line,) = describe(Prediction("a.mp4", "unreadable", None, None, 0.5, (), note, "E_CLIP_DAMAGED"))
    assert line.endswith(f"a.mp4  {shown}")


def test_json_has_the_numbers_of_every_face():
    (face,) = PREDICTION.to_dict()["faces"]
    numbers = {"size": 38.0, "sharpness": 500.0, "outside": 0.0, "turned": 0, "note": ""}
    assert {name: face[name] for name in numbers} == numbers
    assert PREDICTION.to_dict()["code"] == ""


def test_folders_stand_for_what_is_below_them(tmp_path):
    for name in ("b.png", "sub/a.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert list(expand([tmp_path, tmp_path / "notes.txt"])) == [
        tmp_path / "b.png",
        tmp_path / "sub" / "a.mp4",
        tmp_path / "notes.txt",
    ]


def test_what_is_passed_over_in_a_folder_is_said_in_a_line(tmp_path):
    for name in ("b.png", "notes.txt", "._b.png", ".git/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "back").symlink_to(tmp_path)
    said = []
    assert list(expand([tmp_path], say=said.append)) == [tmp_path / "b.png"]
    assert said == [
        f"Passed over in {tmp_path}: 1 link back to a folder that it lies in, 1 file that is neither an image nor a "
        "video by its name."
    ]


def test_a_folder_without_a_clip_is_refused(tmp_path):
    (tmp_path / "none").mkdir()
    said = []
    with pytest.raises(RequestError, match="E_FOLDER_EMPTY"):
        list(expand([tmp_path / "none"]))
    assert list(expand([tmp_path / "none", tmp_path / "a.png"], say=said.append)) == [tmp_path / "a.png"]
    assert len(said) == 1
    assert "none" in said[0]


def test_frames_are_annotated_at_their_faces(tmp_path):
    path = write(tmp_path / "a.png", picture(0))
    prediction = Prediction(str(path), "fake", 0.75, None, 0.5, PREDICTION.faces)
    (drawn,) = annotate(prediction, SETTINGS, out=tmp_path / "out", number=3)
    assert drawn == tmp_path / "out" / "0003-a_000000.png"
    image = cv2.cvtColor(cv2.imread(str(drawn)), cv2.COLOR_BGR2RGB)
    assert image[2, 1:31, 0].min() > 200  # the upper edge of the box, red: fake
    assert annotate(Prediction("x.png", "no-face", None, None, 0, ()), SETTINGS, out=tmp_path, number=0) == []


def film(path, frames):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def on(frame):
    return replace(FACE, frame=frame)


def test_of_a_video_the_frames_with_faces_are_annotated(tmp_path):
    path = film(tmp_path / "a.avi", [np.full((48, 64, 3), 9 * n, np.uint8) for n in range(10)])
    settings = FaceSettings(frames=4, stride=2)
    prediction = replace(PREDICTION, name=str(path), faces=(on(4), on(4), on(8), on(5)))
    drawn = annotate(prediction, settings, out=tmp_path / "out", number=0)
    # Of the frames 0, 2, 4, 6, 8 that there are four are taken; the fifth is none of them.
    taken = {number for frames in read_clip(path, settings) for number in frames.numbers}
    assert [int(file.stem.split("_")[1]) for file in drawn] == sorted(taken & {4, 8})


def test_frames_are_annotated_part_by_part(monkeypatch, tmp_path):
    alive, images = [], []

    def read(path, sampling, **options):
        assert (sampling, options["damaged"]) == (settings.sampling, "use")
        for number in range(3):
            alive.append(sum(image() is not None for image in images))
            image = np.zeros((48, 64, 3), np.uint8)
            images.append(weakref.ref(image))
            yield Frames([image], [number])
            del image

    settings = FaceSettings(frames=3, every="1s", damaged="use")
    monkeypatch.setattr("extract.faces.reading.read_batches", read)
    prediction = replace(PREDICTION, faces=(on(0), on(2)))
    assert len(annotate(prediction, settings, out=tmp_path / "out", number=0)) == 2
    assert alive == [0, 0, 0]


def test_a_file_that_is_gone_since_is_not_annotated(tmp_path):
    prediction = replace(PREDICTION, name=str(tmp_path / "gone.png"))
    assert annotate(prediction, SETTINGS, out=tmp_path, number=0) == []


def test_pictures_that_cannot_be_written_are_an_error(tmp_path):
    path = write(tmp_path / "a.png", picture(0))
    with pytest.raises(OSError, match=r"a\.png"):
        annotate(replace(PREDICTION, name=str(path)), SETTINGS, out=path, number=0)


def test_what_was_looked_at_counts_its_faces(stream):
    call, _ = stream
    (prediction,) = call([picture(1, 2)])
    assert len(prediction.faces) == 2
    assert Looked.count.fget is not None
