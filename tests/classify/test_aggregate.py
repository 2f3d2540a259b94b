import numpy as np
import pandas as pd
import pytest

from classify.aggregate import COMBINERS, at_level, combiner
from extract.errors import RequestError

SCORES = np.array([0.25, 4.0, 1.0, 0.75])
BY_HAND = {"mean": 1.5, "median": 0.875, "max": 4.0, "top1": 4.0, "top2": 2.5, "top3": 5.75 / 3, "top9": 1.5}
every_way = pytest.mark.parametrize("aggregate", list(BY_HAND))

# Clips b, a and c of three, one and two faces.
FACES = pd.DataFrame(
    {
        "content": ["x", "x", "y", "x", "z", "z"],
        "face": [0, 1, 0, 2, 0, 1],
        "clip": ["b", "b", "a", "b", "c", "c"],
        "label": [1, 1, 0, 1, 0, 0],
        "attack": ["swap", "swap", "", "swap", "", ""],
        "identity": ["p", "p", "q", "p", "", ""],
        "fold": [0, 0, 1, 0, 1, 1],
        "score": [0.5, 3.0, -1.0, 1.0, 2.0, 0.0],
    }
)


@every_way
def test_each_way_by_hand(aggregate):
    assert combiner(aggregate)(SCORES) == pytest.approx(BY_HAND[aggregate])
    assert combiner(aggregate)(SCORES[::-1]) == pytest.approx(BY_HAND[aggregate])


def test_every_named_way_has_its_example():
    assert set(COMBINERS) <= set(BY_HAND)


@every_way
def test_one_face_is_its_clip(aggregate):
    assert combiner(aggregate)(np.array([0.3])) == 0.3


@pytest.mark.parametrize("name", ["top0", "top", "top-1", "top1.5", "top03", "sum", "Mean", ""])
def test_another_way_is_refused(name):
    with pytest.raises(RequestError, match=f"Expected a known way to combine a clip's faces; got '{name}'"):
        combiner(name)
    with pytest.raises(RequestError, match="Expected a known way"):
        at_level(FACES, "video", aggregate=name)


def test_the_nearest_way_is_named():
    with pytest.raises(RequestError, match="Did you mean 'median'"):
        combiner("medain")


def test_the_video_level_has_one_line_a_clip():
    videos = at_level(FACES, "video")
    assert videos.set_index("clip").to_dict("index") == {
        "a": {"fold": 1, "label": 0, "attack": "", "identity": "q", "score": -1.0},
        "b": {"fold": 0, "label": 1, "attack": "swap", "identity": "p", "score": 1.5},
        "c": {"fold": 1, "label": 0, "attack": "", "identity": "", "score": 1.0},
    }
    assert videos["clip"].tolist() == ["a", "b", "c"]
    assert videos["label"].dtype == FACES["label"].dtype


@every_way
def test_a_clips_score_is_its_faces_combined(aggregate):
    videos = at_level(FACES, "video", aggregate=aggregate).set_index("clip")["score"]
    for clip, faces in FACES.groupby("clip"):
        assert videos[clip] == pytest.approx(combiner(aggregate)(faces["score"].to_numpy()))


@every_way
def test_the_order_of_faces_does_not_matter(aggregate):
    shuffled = FACES.iloc[[5, 2, 3, 0, 4, 1]]
    pd.testing.assert_frame_equal(
        at_level(shuffled, "video", aggregate=aggregate), at_level(FACES, "video", aggregate=aggregate)
    )


def test_the_faces_of_a_divided_clip_count_once_a_fold():
    divided = FACES.assign(fold=[0, 1, 1, 0, 1, 1])
    videos = at_level(divided, "video").set_index(["clip", "fold"])["score"]
    assert videos.to_dict() == {("a", 1): -1.0, ("b", 0): 0.75, ("b", 1): 3.0, ("c", 1): 1.0}


def test_rows_of_other_data_have_fold_minus_one():
    assert at_level(FACES.assign(fold=-1), "video")["fold"].tolist() == [-1, -1, -1]


def test_the_image_level_has_one_line_a_face_in_order():
    table = FACES.iloc[[5, 2, 3]]
    images = at_level(table, "image", aggregate="max")
    pd.testing.assert_frame_equal(images, table.drop(columns=["content", "face"]).reset_index(drop=True))


@pytest.mark.parametrize("level", ["image", "video"])
def test_the_table_itself_is_left_as_it_was(level):
    before = FACES.copy()
    table = at_level(FACES, level)
    table["score"] = 0
    pd.testing.assert_frame_equal(FACES, before)


def test_further_columns_are_kept():
    videos = at_level(FACES.assign(skin=["dark", "dark", "light", "dark", "", ""]), "video")
    assert videos["skin"].tolist() == ["light", "dark", ""]
