"""The clips that a suite names: read or generated, and checked before any work starts."""

from collections.abc import Sequence

import pandas as pd

from benchmarks.machine import Machine
from benchmarks.suite import DataSettings, Suite
from classify.folds import identity_folds
from extract.datasets.folder import read_folder
from extract.datasets.synthetic import generate
from extract.errors import RequestError
from extract.files import digest
from extract.manifest import Manifest, check_classes, read_manifest
from extract.pipeline import identify


def read_all(suite: Suite, *, machine: Machine) -> tuple[Manifest, Manifest | None]:
    """Read a suite's manifest and its external one, and refuse what cannot work, before anything is decoded.

    Raises
    ------
    RequestError
        No data, one class only, the same bytes under two labels, impossible folds, external data that shares
        people or files with the training data, and whatever reading the manifests refuses.
    """
    if suite.data is None:
        raise RequestError("Expected data; the suite names none. Pass --data DIR or --manifest FILE.")
    manifest = read_data(suite.data, machine=machine)
    check_classes(manifest)
    external = read_manifest(suite.external.manifest) if suite.external else None
    if external:
        check_classes(external, "the external manifest")
    manifest = identify(manifest, machine.store, track=machine.track)
    check_classes(manifest, "the manifest, without empty and repeated files,")
    identity_folds(manifest.clips, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)
    if external:
        external = identify(external, machine.store, track=machine.track)
        check_disjoint(manifest, external)
    return manifest, external


def read_data(data: DataSettings, *, machine: Machine) -> Manifest:
    """Read or generate the clips that a suite names; says what is not known about identities."""
    if data.synthetic is not None:
        home = machine.store.root / "synthetic" / digest(vars(data.synthetic))[:16]
        return read_manifest(generate(data.synthetic, home, track=machine.track))
    if data.manifest is not None:
        manifest = read_manifest(data.manifest)
        if (manifest.clips["identity"] == "").all():
            machine.say(
                _UNKNOWN_IDENTITIES.format(
                    what="The manifest names no identity", do="Add an identity column."
                )
            )
        return manifest
    assert data.folder is not None  # DataSettings has exactly one source
    if data.identity is None:
        machine.say(
            _UNKNOWN_IDENTITIES.format(what="No --identity given", do="Name them with --identity REGEX.")
        )
    return read_folder(data.folder, identity=data.identity, clip=data.clip)


_UNKNOWN_IDENTITIES = (
    "{what}: each clip counts as an identity of its own, so people who appear twice can be on both sides of a "
    "split. {do}"
)


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
