"""Faces become features: read once, in parts, here and in other processes."""

import functools
import os
import signal
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from extract import features
from extract.compute import ComputeSettings
from extract.extractor_settings import ExtractorSettings
from extract.extractors import features_key, load_extractor
from extract.faces import whole_crops
from extract.features import compute_features
from extract.store import Store
from extract.weights import WeightSettings

KEY = "faces"


class Colours:
    """Mean colour of each face; remembers how many it was given at once, and can fail after some calls."""

    dim = 3

    def __init__(self, name="colours", fail_at=None, raises=KeyboardInterrupt):
        self.name, self.fingerprint = name, name * 16
        self.calls, self.fail_at, self.raises = [], fail_at, raises

    def __call__(self, crops):
        if self.fail_at is not None and len(self.calls) >= self.fail_at:
            raise self.raises("stopped")
        self.calls.append(len(crops))
        return crops.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)


def store_faces(store, clips, each, side=8):
    rng = np.random.default_rng(4)
    for number in range(clips):
        crops = rng.integers(0, 256, (each, side, side, 3), dtype=np.uint8)
        store.write_faces(KEY, f"{number:064x}", faces=whole_crops(crops))
    lines = [(f"{number:064x}", face) for number in range(clips) for face in range(each)]
    return pd.DataFrame(lines, columns=["content", "face"])


@pytest.fixture
def rows(store):
    """Six clips of four faces each, a part of which holds four faces."""
    return store_faces(store, 6, 4)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(features, "PART", 4)


@pytest.fixture
def reads(monkeypatch):
    """What is read: a list of (content, face)."""
    read, seen = Store.read_face, []

    def count(self, key, content, *, face):
        seen.append((content, face))
        return read(self, key, content, face=face)

    monkeypatch.setattr(Store, "read_face", count)
    return seen


@pytest.fixture
def track():
    """A `Track` that remembers description, total, and how many items came."""
    seen = []

    def follow(items, description, total=None):
        seen.append([description, total, 0])
        for item in items:
            seen[-1][2] += 1
            yield item

    follow.seen = seen
    return follow


def compute(rows, extractors, store, **options):
    compute_features(rows, extractors, store=store, faces=KEY, **options)


def stored(extractor, store, rows):
    return np.array(store.gather(features_key(extractor, KEY), rows))


def expected(store, rows):
    crops = [store.read_face(KEY, row.content, face=row.face) for row in rows.itertuples()]
    return np.stack(crops).mean(axis=(1, 2), dtype=np.float64).astype(np.float32)


# -- one read ------------------------------------------------------------------------------------------------


def test_one_read_of_the_faces_feeds_all_extractors(rows, store, reads):
    both = [Colours("one"), Colours("other"), Colours("third")]
    compute(rows, both, store)
    assert sorted(reads) == sorted(rows.itertuples(index=False, name=None))
    for extractor in both:
        assert extractor.calls == [4] * 6
        np.testing.assert_array_equal(stored(extractor, store, rows), expected(store, rows))


def test_extractors_that_lack_different_rows_get_what_they_lack(rows, store, reads, track):
    one, other, none = Colours("one"), Colours("other"), Colours("none")
    compute(rows.iloc[:10], [one], store)
    compute(rows.iloc[[1, 12, 13, 22]], [other], store)
    compute(rows, [none], store)
    for extractor in (one, other, none):
        extractor.calls.clear()
    reads.clear()
    compute(rows, [one, other, none], store, track=track)
    assert sum(one.calls) == 14
    assert sum(other.calls) == 20
    assert none.calls == []
    lacking = set(range(10, 24)) | set(range(24)) - {1, 12, 13, 22}
    wanted = [row for i, row in enumerate(rows.itertuples(index=False, name=None)) if i in lacking]
    assert sorted(reads) == wanted
    assert track.seen == [["features (3 extractors)", 34, 34]]
    for extractor in (one, other):
        np.testing.assert_array_equal(stored(extractor, store, rows), expected(store, rows))


@pytest.mark.parametrize("gathered", [True, False])
def test_where_nothing_lacks_nothing_is_read_or_tracked(rows, store, reads, track, gathered):
    extractor = Colours()
    compute(rows, [extractor], store)
    if gathered:
        stored(extractor, store, rows)
    reads.clear()
    again = Colours()
    compute(rows, [again], store, track=track)
    compute(rows.iloc[3:7], [again], store, track=track)
    compute(rows, [], store, track=track)
    assert reads == []
    assert track.seen == []
    assert again.calls == []


def test_what_was_gathered_is_not_looked_for_in_the_parts(rows, store, monkeypatch):
    extractor = Colours()
    compute(rows, [extractor], store)
    stored(extractor, store, rows)
    monkeypatch.setattr(Store, "feature_index", None)
    compute(rows, [Colours()], store)


def test_the_total_is_that_of_all_extractors(rows, store, track):
    compute(rows, [Colours("one")], store, track=track)
    compute(rows, [Colours("two"), Colours("three")], store, track=track)
    assert track.seen == [["features one", 24, 24], ["features (2 extractors)", 48, 48]]


def test_faces_are_handed_over_in_steps(store, monkeypatch):
    monkeypatch.setattr(features, "PART", 20)
    monkeypatch.setattr(features, "STEP", 8)
    rows = store_faces(store, 2, 20)
    extractor = Colours()
    compute(rows, [extractor], store)
    assert extractor.calls == [8, 8, 4] * 2
    np.testing.assert_array_equal(stored(extractor, store, rows), expected(store, rows))


# -- what goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("raises", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_an_error_comes_through_and_what_was_finished_is_kept(rows, store, raises):
    with pytest.raises(raises, match="stopped"):
        compute(rows, [Colours(fail_at=3, raises=raises)], store)
    rest = Colours()
    compute(rows, [rest], store)
    assert rest.calls == [4] * 3
    np.testing.assert_array_equal(stored(rest, store, rows), expected(store, rows))


def test_an_error_of_one_extractor_keeps_what_the_other_finished(rows, store):
    good = Colours("good")
    with pytest.raises(RuntimeError, match="stopped"):
        compute(rows, [good, Colours("bad", fail_at=2, raises=RuntimeError)], store)
    good.calls.clear()
    compute(rows, [good, rest := Colours("bad")], store)
    assert (len(good.calls), len(rest.calls)) == (3, 4)


class Wrong(Colours):
    def __init__(self, spoil):
        super().__init__("wrong")
        self.spoil = spoil

    def __call__(self, crops):
        return self.spoil(super().__call__(crops))


SPOILT = {
    "too few": (lambda X: X[1:], r"Expected features \(4, 3\) float32 from wrong; got \(3, 3\) float32"),
    "too wide": (lambda X: np.hstack([X, X]), r"got \(4, 6\) float32"),
    "doubles": (lambda X: X.astype(float), r"got \(4, 3\) float64"),
    "not a number": (lambda X: X * np.float32("nan"), r"Expected finite features from wrong"),
    "infinite": (lambda X: X + np.float32("inf"), r"got NaN or infinity"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILT.values(), ids=SPOILT)
def test_features_that_are_none_are_refused_and_not_stored(rows, store, spoil, message):
    extractor = Wrong(spoil)
    with pytest.raises(ValueError, match=message):
        compute(rows, [extractor], store)
    assert not store.has_features(features_key(extractor, KEY))


def test_a_face_that_is_gone_ends_the_extraction(rows, store):
    (store.faces_folder(KEY, rows["content"].iloc[9]) / "0001.png").unlink()
    extractor = Colours()
    with pytest.raises((OSError, ValueError), match=r"0001\.png"):
        compute(rows, [extractor], store)
    assert len(store.feature_index(features_key(extractor, KEY))) == 8


def test_a_full_disk_ends_the_extraction(rows, store, monkeypatch):
    def full(self, key, rows, *, X):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "write_features", full)
    with pytest.raises(OSError, match="No space left"):
        compute(rows, [Colours()], store)


# -- memory --------------------------------------------------------------------------------------------------


class Crops(np.ndarray):
    """An array to which a weak reference can be made."""


def test_single_crops_of_one_part_alone_wait_while_another_is_computed(store, monkeypatch):
    read, alive, most = Store.read_face, set(), []

    def follow(*given, **how):
        crop = read(*given, **how).view(Crops)
        alive.add(number := object())
        weakref.finalize(crop, alive.discard, number)
        return crop

    class Slow(Colours):
        def __call__(self, crops):
            time.sleep(0.01)  # the next part is read meanwhile
            most.append(len(alive))
            return super().__call__(crops)

    monkeypatch.setattr(Store, "read_face", follow)
    compute(store_faces(store, 12, 4), [Slow("one"), Slow("other")], store)
    assert len(most) == 24
    assert max(most) <= 4


# -- other processes -----------------------------------------------------------------------------------------

SEEDED = WeightSettings(policy="random")


def network(name="timm:test_resnet", *, size=32, weights=SEEDED, **options):
    compute = ComputeSettings(**options)
    return load_extractor(ExtractorSettings(name=name, size=size), weights=weights, compute=compute)


@pytest.fixture
def many(tmp_path):
    """A store of 24 clips of eight faces, and the function that makes another with the same faces."""

    def make(name):
        store = Store(tmp_path / name)
        return store, store_faces(store, 24, 8, side=40)

    return make


def check_apart(make, many, track):
    """Features by two processes are, byte for byte, those by this one."""
    here, rows = many("here")
    apart, _ = many("apart")
    one = [make_one() for make_one in make]
    compute(rows, one, here)
    compute(rows, [make_one() for make_one in make], apart, workers=2, track=track)
    for extractor in one:
        assert stored(extractor, apart, rows).tobytes() == stored(extractor, here, rows).tobytes()
    count = len(make) * len(rows)
    assert [seen[1:] for seen in track.seen] == [[count, count]]


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one(many, track):
    check_apart([lambda: network(precision="fp32")], many, track)


def bfloat16():
    return network("deit_small", precision="auto")


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one_for_several_networks_and_in_half_precision(many, track):
    check_apart([bfloat16, lambda: network("mobilenetv2", weights=WeightSettings())], many, track)


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one_with_torch(many, track):
    check_apart([lambda: network("mobilenetv2", backend="torch")], many, track)


def in_this_process(monkeypatch):
    """Let units be worked off here, so that a test sees what another process would be given."""
    given = []

    def run(work, units, *, workers):
        for number, unit in enumerate(units):
            given.append((unit, workers))
            yield number, work(unit)

    monkeypatch.setattr(features, "run_units", run)
    monkeypatch.setattr(features, "_warm", functools.cache(load_again))
    return given


def load_again(recipe):
    return load_extractor(recipe.settings, weights=recipe.weights, compute=recipe.compute)


def test_plugins_stay_in_this_process(rows, store, monkeypatch, track):
    given = in_this_process(monkeypatch)
    plugin, ours = Colours(), network(backend="torch")
    compute(rows, [ours, plugin], store, workers=2, track=track)
    assert sum(plugin.calls) == 24
    assert {len(task.recipes) for task, _ in given} == {1}
    assert [seen[0] for seen in track.seen] == ["features colours", f"features {ours.name}"]
    assert len(stored(ours, store, rows)) == 24


def test_others_compute_by_what_was_chosen_here(rows, store, monkeypatch):
    given, ours = in_this_process(monkeypatch), network()
    compute(rows, [ours], store, workers=2)
    assert ours.recipe.compute == ComputeSettings("auto", "auto")
    assert {task.recipes[0].compute for task, _ in given} == {ComputeSettings(ours.backend, ours.precision)}


def test_weights_that_change_before_another_process_reads_them_are_refused(
    rows, store, tmp_path, monkeypatch
):
    folder = tmp_path / "weights"
    folder.mkdir()
    in_this_process(monkeypatch)
    states = [network(weights=WeightSettings(policy="random", seed=n)).network.state_dict() for n in range(2)]
    torch.save(states[0], folder / "test_resnet.pth")
    made = network(weights=WeightSettings(directory=folder), backend="torch")
    torch.save(states[1], folder / "test_resnet.pth")
    with pytest.raises(ValueError, match=r"its weights have changed meanwhile\. Run again\."):
        compute(rows, [made], store, workers=2)
    assert not store.has_features(features_key(made, KEY))


def computing_children():
    """Return the processes that this one started and that have loaded torch, the busiest last."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            maps = stat.with_name("maps").read_text() if int(fields[1]) == os.getpid() else ""
        except OSError:  # it has ended
            continue
        if "libtorch" in maps:
            found.append((int(fields[11]), int(stat.parent.name)))
    return [process for _, process in sorted(found)]


def kill_one_after(pattern, folder, killed):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if next(folder.glob(pattern), None) and (children := computing_children()):
            os.kill(children[-1], signal.SIGKILL)
            killed.append(children[-1])
            return
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_an_extraction_whose_worker_is_killed_ends_with_the_same_bytes(many, track):
    here, rows = many("here")
    apart, _ = many("apart")
    made = network(precision="fp32")
    compute(rows, [made], here)
    killed = []
    killer = threading.Thread(
        target=kill_one_after, args=("features/*/*/part-*/X.npy", apart.root, killed), daemon=True
    )
    killer.start()
    compute(rows, [made], apart, workers=2, track=track)
    killer.join()
    assert len(killed) == 1
    assert stored(made, apart, rows).tobytes() == stored(made, here, rows).tobytes()
    assert [seen[1:] for seen in track.seen] == [[len(rows), len(rows)]]
