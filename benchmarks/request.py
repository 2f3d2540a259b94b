"""A request: a suite with its clips and networks, checked and named before anything is decoded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.data import Clips, identify_clips, read_clips, recognise_data
from benchmarks.machine import Machine, Say
from benchmarks.results import check_out, claimed, finish, versions
from benchmarks.suite import Suite
from extract.datasets.passed import NO_CLIPS
from extract.errors import RequestError
from extract.extractors import (
    Extractor,
    FrozenNetwork,
    backend_of,
    features_key,
    load_extractor,
    title_of,
    weights_of,
)
from extract.faces import FaceSettings, faces_key
from extract.files import digest, write_bytes
from extract.manifest import Manifest
from extract.weights import WeightSettings


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes
    ----------
    suite : Suite
        With the data set recognised.
    extractors : list of Extractor
    clips : Clips
        Identified by their contents.
    key : str
        Stands for data, settings, weights and versions.
    """

    suite: Suite
    extractors: list[Extractor]
    clips: Clips
    key: str

    def describe_extractors(self) -> dict[str, dict[str, Any]]:
        """Return what tables say of each extractor, under its name."""
        return {extractor.name: _describe(extractor) for extractor in self.extractors}


def make_request(
    suite: Suite,
    *,
    machine: Machine,
    weights: Path | None,
    also: Sequence[Any] = (),
    check: Callable[[pd.DataFrame], object] | None = None,
) -> Request:
    """Read clips and load networks, and refuse what cannot work.

    Parameters
    ----------
    weights : Path, optional
        Directory of weights, see `WeightSettings`.
    also : sequence
        What else the key stands for, as JSON has it.
    check : callable, optional
        Refuses what the clip table alone rules out, before anything is loaded.

    Raises
    ------
    RequestError
    """
    suite = recognise_data(suite, machine=machine)
    # Reading is cheap and its errors come first, but for clips that would have to be generated.
    clips = _read(suite, machine, check) if suite.data and not suite.data.synthetic else None
    extractors = _load_extractors(suite, weights, machine=machine)
    _build_networks(extractors, suite.faces, machine=machine)
    clips = clips or _read(suite, machine, check)
    clips = identify_clips(clips, suite, machine=machine)
    return Request(suite, extractors, clips, _key(suite, extractors, clips, also))


def carry_out(request: Request, folder: Path, *, machine: Machine, compute: Callable[[Path], None]) -> Path:
    """Compute what a results folder lacks, alone in it; a finished one is left as it is."""
    with claimed(folder, request.key):
        if (folder / "DONE").is_file():
            machine.say("Finished before: nothing to compute.")
            write_bytes(folder / "suite.toml", request.suite.to_toml().encode())  # its title may be new
        else:
            machine.store.sweep()
            compute(folder)
        finish(folder)
    return folder


def check_folder(out: Path | None) -> None:
    """Refuse an unusable results folder before any work."""
    if out:
        check_out(out)


def _read(suite: Suite, machine: Machine, check: Callable[[pd.DataFrame], object] | None) -> Clips:
    clips = read_clips(suite, machine=machine)
    if check:
        check(clips.own.clips)
    return clips


def _load_extractors(suite: Suite, weights: Path | None, *, machine: Machine) -> list[Extractor]:
    source = WeightSettings(directory=weights, policy=suite.weights, seed=suite.seed)
    extractors = [
        load_extractor(settings, weights=source, compute=suite.compute) for settings in suite.extractors
    ]
    names = [extractor.name for extractor in extractors]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RequestError(
            f"Expected extractors of different names; got {twice[0]} twice. Rename one.", code="E_SUITE"
        )
    _say_weights(extractors, machine.say)
    return extractors


def _build_networks(extractors: Sequence[Extractor], faces: FaceSettings, *, machine: Machine) -> None:
    """Build what has features to compute, so that weights that do not match are refused before the work."""
    store = machine.store
    needed = [e for e in extractors if not store.has_features(features_key(e, faces_key(faces)))]
    for extractor in machine.track(needed, "networks") if needed else ():
        if not isinstance(extractor, FrozenNetwork):
            extractor.dim  # noqa: B018  (builds the network)
        elif reason := extractor.prepare(faces.size):
            machine.say(f"{extractor.name} is computed by torch: {reason}")


def _key(suite: Suite, extractors: Sequence[Extractor], clips: Clips, also: Sequence[Any]) -> str:
    tables = [None if m is None else _table_key(m) for m in (clips.own, clips.external)]
    # Extractors, backend and precision stand in the keys of their features, as they were found.
    left = {"data", "external", "title", "published", "extractors", "backend", "precision"}
    settings = suite.model_dump(mode="json", exclude=left)
    features = [features_key(extractor, faces_key(suite.faces)) for extractor in extractors]
    return digest([settings, tables, features, versions(), *also])


def _table_key(manifest: Manifest) -> str:
    """Hash what a clip table says, wherever its files lie: contents and labels, clips by number, not by path."""
    clips = manifest.clips
    table = clips.drop(columns="path").assign(clip=pd.factorize(clips["clip"])[0])
    skipped = manifest.skipped
    left = skipped[(skipped["outcome"] != "missing") & ~skipped["code"].isin(NO_CLIPS)]
    names = [[Path(line.path).name, line.outcome] for line in left.itertuples()]
    return digest([list(table), table.astype(str).to_numpy().tolist(), names])


def _describe(extractor: Extractor) -> dict[str, Any]:
    kind, source = weights_of(extractor)
    backend, precision = backend_of(extractor)
    return {
        "title": title_of(extractor),
        "fingerprint": extractor.fingerprint,
        "weights": kind,
        "source": source,
        "backend": backend,
        "precision": precision,
    }


def _say_weights(extractors: Sequence[Extractor], say: Say) -> None:
    for extractor in extractors:
        kind, source = weights_of(extractor)
        found = f"RANDOM WEIGHTS ({source})" if kind == "random" else f"{kind}: {source}"
        say(f"{extractor.name:<16} {' '.join(backend_of(extractor)):<14} {found}")
