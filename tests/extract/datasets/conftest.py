"""Trees of tiny files, and what was read from them by names relative to their root."""

import json

import pytest

from extract.datasets.faceforensics import PAIRED, SEQUENCES, SWAPS


@pytest.fixture
def make(tmp_path):
    """Make files of a few bytes; returns the folder that their names start from."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(name.encode())
        return tmp_path

    return make


@pytest.fixture
def column(tmp_path):
    """Return a column of a manifest: path -> value."""

    def column(manifest, name):
        paths = manifest.clips["path"].str.removeprefix(f"{tmp_path}/")
        return dict(zip(paths, manifest.clips[name], strict=True))

    return column


@pytest.fixture
def left(tmp_path):
    """Return what a manifest left out, or misses: path -> reason."""

    def left(manifest, outcome="skipped"):
        rows = manifest.skipped[manifest.skipped["outcome"] == outcome]
        return dict(zip(rows["path"].str.removeprefix(f"{tmp_path}/"), rows["reason"], strict=True))

    return left


@pytest.fixture
def make_celebdf(make):
    """Make Celeb-DF with a list of testing videos: its lines, or none."""

    def make_celebdf(*names, lines=()):
        root = make(*names)
        if lines:
            (root / "List_of_testing_videos.txt").write_text("".join(f"{line}\n" for line in lines))
        return root

    return make_celebdf


@pytest.fixture
def make_dfdc(tmp_path):
    """Make parts of DFDC: name -> {file: its entry, or None to have the file without one}."""

    def make_dfdc(**parts):
        for part, entries in parts.items():
            folder = tmp_path / f"dfdc_train_part_{part.removeprefix('part')}"
            folder.mkdir(parents=True)
            for name in entries:
                (folder / name).write_bytes(f"{part}/{name}".encode())
            known = {name: entry for name, entry in entries.items() if entry is not None}
            (folder / "metadata.json").write_text(json.dumps(known))
        return tmp_path

    return make_dfdc


@pytest.fixture(scope="session")
def full_faceforensics(tmp_path_factory):
    """FaceForensics++ as its official lists have it, in the official layout."""
    root = tmp_path_factory.mktemp("FaceForensics++")
    names = {"original_sequences/youtube": SEQUENCES, **{f"manipulated_sequences/{a}": SWAPS for a in PAIRED}}
    for folder, stems in names.items():
        (root / folder / "c23" / "videos").mkdir(parents=True)
        for stem in stems:
            (root / folder / "c23" / "videos" / f"{stem}.mp4").write_bytes(b"x")
    return root
