import shutil

import pandas as pd
import pytest

from benchmarks.machine import Machine
from benchmarks.request import make_request
from benchmarks.suite import DataSettings
from extract.datasets.registry import read_dataset
from extract.datasets.synthetic import SyntheticSettings
from extract.errors import RequestError
from extract.manifest import write_manifest
from extract.store import Store


@pytest.fixture
def request_for(tmp_path):
    """Make the request for a suite, on a cache of its own."""

    def make(suite, **options):
        return make_request(suite, machine=Machine(Store(tmp_path / "cache")), weights=None, **options)

    return make


def with_data(suite, **data):
    return suite.model_copy(update={"data": DataSettings(**data)})


def test_a_request_has_its_clips_and_its_networks(tiny, request_for):
    request = request_for(tiny())
    assert len(request.clips.own.clips) == 37
    assert request.clips.own.clips["content"].is_unique
    assert request.clips.external is None
    assert list(request.describe_extractors()) == ["pixels"]
    assert len(request.key) == 64


def test_the_suite_of_a_request_names_its_data_set(tiny, request_for, training):
    suite = request_for(with_data(tiny(), folder=[training.parent])).suite
    assert suite.data.dataset == "folder"


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "component"},
        {"folds": 2},
        {"nested": True},
        {"seed": 1},
        {"draw": {"train": 1}},
        {"unknown_sources": "leave_out"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_the_figures_is_in_the_key(change, tiny, request_for, swaps):
    suite = tiny(data=swaps)
    assert request_for(suite.model_copy(update=change)).key != request_for(suite).key


def test_what_else_is_asked_for_is_in_the_key(tiny, request_for):
    keys = {request_for(tiny(), also=also).key for also in ([], ["leakage"], ["leakage", {"repeats": 2}])}
    assert len(keys) == 3


@pytest.mark.parametrize("change", [{"title": "New"}, {"published": None}], ids=str)
def test_what_changes_no_figure_is_not_in_the_key(change, tiny, request_for):
    assert request_for(tiny().model_copy(update=change)).key == request_for(tiny()).key


def test_the_data_count_for_what_they_are_not_for_where_they_lie(tiny, request_for, training, tmp_path):
    moved = shutil.copytree(training.parent, tmp_path / "moved")
    assert request_for(tiny(data=moved / training.name)).key == request_for(tiny()).key


@pytest.mark.parametrize("column", ["identity", "source_identity", "attack", "dataset", "split"])
def test_what_is_said_of_a_clip_is_in_the_key(column, tiny, request_for, training, tmp_path):
    table = pd.read_csv(training)
    table["path"] = [str(training.parent / path) for path in table["path"]]
    one = table["clip"] == "fake-p3"
    changed = table.assign(**{column: table.get(column, pd.Series("", table.index)).where(~one, "new")})
    changed.to_csv(tmp_path / "changed.csv", index=False)
    assert request_for(tiny(data=tmp_path / "changed.csv")).key != request_for(tiny()).key


def test_a_prepared_manifest_asks_for_the_same_as_its_folder(tiny, request_for, training, tmp_path):
    folder = with_data(tiny(), folder=[training.parent], dataset="folder")
    write_manifest(read_dataset([training.parent], name="folder")[1], tmp_path / "clips.parquet")
    assert request_for(tiny(data=tmp_path / "clips.parquet")).key == request_for(folder).key


def test_files_that_a_data_set_misses_are_not_in_the_key(tiny, request_for, tmp_path):
    root = tmp_path / "Celeb-DF"
    for pair in range(3):
        for number in (2 * pair, 2 * pair + 1):
            for name in (f"real/id{number}_0000", f"synthesis/id{number}_id{number ^ 1}_0000"):
                path = root / f"Celeb-{name}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(name.encode())
    (root / "List_of_testing_videos.txt").write_text("1 Celeb-real/id0_0000.mp4")
    suite = with_data(tiny(), folder=[root])
    before = request_for(suite)
    (root / "List_of_testing_videos.txt").write_text("1 Celeb-real/id0_0000.mp4\n1 Celeb-real/id9_0000.mp4")
    after = request_for(suite)
    assert set(after.clips.own.skipped["outcome"]) == {"missing"}
    assert after.key == before.key


def test_weights_that_are_missing_are_refused_before_clips_are_generated(tiny, request_for, tmp_path):
    suite = tiny(extractors='["timm:test_resnet"]', weights="required")
    suite = suite.model_copy(update={"data": DataSettings(synthetic=SyntheticSettings())})
    with pytest.raises(RequestError, match="Expected weights for timm:test_resnet"):
        request_for(suite)
    assert not (tmp_path / "cache").exists()
