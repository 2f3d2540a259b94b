"""The clips that a suite names: read or generated, and checked before any work starts."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from benchmarks.machine import Machine
from benchmarks.suite import DataSettings, Suite
from classify.folds import identity_folds
from extract.datasets.folder import read_folder
from extract.datasets.synthetic import generate, recipe
from extract.errors import RequestError
from extract.files import digest
from extract.manifest import Manifest, check_classes, read_manifest
from extract.pipeline import find_faces, identify


@dataclass(frozen=True)
class Clips:
    """The clips that are trained and tested on, and those of the external manifest, if there is one."""

    own: Manifest
    external: Manifest | None


def read_clips(suite: Suite, *, machine: Machine) -> Clips:
    """Read a suite's manifests and refuse what their lines alone rule out.

    Raises
    ------
    RequestError
        No data, one class only, impossible folds, and whatever reading the manifests refuses.
    """
    if suite.data is None:
        raise RequestError("Expected data; the suite names none. Pass --data DIR or --manifest FILE.")
    own = read_data(suite.data, machine=machine)
    _check_own(own, suite, "manifest")
    external = read_manifest(suite.external.manifest) if suite.external else None
    if external:
        check_classes(external, "the external manifest")
        _say_unknown(external, machine, "external manifest")
    return Clips(own, external)


def identify_clips(clips: Clips, suite: Suite, *, machine: Machine) -> Clips:
    """Hash every clip and refuse what their bytes rule out, before anything is decoded.

    Raises
    ------
    RequestError
        The same bytes under two labels, external data that shares people or files with the training data, too
        little left without empty and repeated files.
    """
    own = identify(clips.own, machine.store, track=machine.track)
    _check_own(own, suite, "manifest without empty and repeated files")
    if clips.external is None:
        return Clips(own, None)
    external = identify(clips.external, machine.store, track=machine.track)
    check_classes(external, "the external manifest without empty and repeated files")
    check_disjoint(own, external)
    return Clips(own, external)


def find_all_faces(
    clips: Clips, suite: Suite, *, machine: Machine
) -> tuple[pd.DataFrame, pd.DataFrame | None, pd.DataFrame]:
    """Find the faces of all clips: rows of the own ones, of the external ones, and what was left out."""
    rows, own = find_faces(clips.own, suite.faces, store=machine.store, track=machine.track)
    check_classes(own, "the clips with a usable face")
    if clips.external is None:
        return rows, None, own.skipped
    others, external = find_faces(clips.external, suite.faces, store=machine.store, track=machine.track)
    check_classes(external, "the external clips with a usable face")
    return rows, others, pd.concat([own.skipped, external.skipped], ignore_index=True)


def read_data(data: DataSettings, *, machine: Machine) -> Manifest:
    """Read or generate the clips that a suite names; says where persons are not known."""
    if data.synthetic is not None:
        home = machine.store.root / "synthetic" / digest(recipe(data.synthetic))[:16]
        return read_manifest(generate(data.synthetic, home, track=machine.track))
    if data.manifest is not None:
        manifest = read_manifest(data.manifest)
        _say_unknown(manifest, machine, "manifest")
        return manifest
    assert data.folder is not None  # DataSettings has exactly one source
    manifest = read_folder(data.folder, identity=data.identity, clip=data.clip)
    _say_unknown(manifest, machine, "folder (name them with --identity REGEX)")
    return manifest


def _say_unknown(manifest: Manifest, machine: Machine, what: str) -> None:
    """Say how many clips may show people who stand elsewhere under no or another name."""
    clips = manifest.clips.drop_duplicates("clip")
    unknown = int((clips["identity"] == "").sum())
    if unknown:
        machine.say(
            f"{unknown} of {len(clips)} clips name no identity in the {what}: each counts as an identity of its own, "
            "so people who appear twice can be on both sides of a split."
        )


def _check_own(manifest: Manifest, suite: Suite, name: str) -> None:
    check_classes(manifest, name)
    identity_folds(manifest.clips, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)


def check_disjoint(manifest: Manifest, external: Manifest) -> None:
    """Refuse external data that shows people, or holds files, of the data that is trained on.

    Raises
    ------
    RequestError
    """
    for columns, what in ((("identity", "source_identity"), "identities"), (("content",), "files")):
        known, new = (_values(m.clips, columns) for m in (manifest, external))
        if shared := sorted(known & new):
            raise RequestError(
                f"Expected an external manifest of other people and files; it shares {len(shared)} {what} with the "
                f"training data, first {shared[0]}. Remove them from one side (or tell apart equal names)."
            )


def _values(clips: pd.DataFrame, columns: Sequence[str]) -> set[str]:
    return {str(value) for column in columns for value in clips[column] if value != ""}
