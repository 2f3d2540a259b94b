"""The clips that a suite names: read or generated, and checked before any work starts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from benchmarks.begun import home_of
from benchmarks.machine import Machine
from benchmarks.suite import DataSettings, Suite
from classify.folds import identity_folds, inner_folds, nested_folds
from classify.groups import people_of
from classify.protocols import PEOPLE
from extract.datasets.passed import passed_over
from extract.datasets.registry import DATASETS, holds_crops, read_dataset, recognise
from extract.datasets.synthetic import generate
from extract.errors import RequestError
from extract.faces import FaceSettings, faces_key
from extract.manifest import Manifest, Reason, check_classes, read_manifest
from extract.media.perturb import Perturbation, parse_perturbations
from extract.pipeline import NoFaces, find_faces, identify
from extract.store import Store

OWN, EXTERNAL = "own", "external"


@dataclass(frozen=True)
class Clips:
    """The clips that are trained and tested on, and those of the external manifest, if there is one."""

    own: Manifest
    external: Manifest | None


@dataclass(frozen=True)
class FoundFaces:
    """The faces of all clips, each table one line a face as `find_faces` returns it.

    Attributes
    ----------
    own : DataFrame
        Of the clips that are trained and tested on, after the suite's draw.
    external : DataFrame, optional
    perturbed : mapping of perturbation to DataFrame
        Of those of the own clips that it applies to and that still showed a face.
    skipped : DataFrame
        What was left out of own and external clips, with the reason.
    files : DataFrame, one line an input file
        ``data`` (``own``, ``external`` or a perturbation), ``content``, ``clip``, ``label``, ``attack``, ``split``,
        ``faces`` (how many it gave, before the draw), ``people`` (the most usable faces in one of its frames).
    """

    own: pd.DataFrame
    external: pd.DataFrame | None
    perturbed: Mapping[str, pd.DataFrame]
    skipped: pd.DataFrame
    files: pd.DataFrame


def recognise_data(suite: Suite, *, machine: Machine) -> Suite:
    """Name the data set of a suite's folder, and take the images of one that holds face crops as they are.

    Raises
    ------
    RequestError
        No data set or several match the folder.
    """
    data = suite.data
    if data is None or not data.folder:
        return suite
    name = data.dataset
    if name is None:
        name = "combined" if len(data.folder) > 1 else recognise(data.folder[0], tuple(data.options))
        machine.say(f"Data set: {DATASETS[name].title}, recognised in {', '.join(map(str, data.folder))}.")
        suite = suite.model_copy(update={"data": data.model_copy(update={"dataset": name})})
    if holds_crops(data.folder, name) and suite.faces.detector != "none":
        machine.say('These are face crops: taken as they are (detector = "none").')
        suite = suite.model_copy(update={"faces": replace(suite.faces, detector="none")})
    return suite


def read_clips(suite: Suite, *, machine: Machine) -> Clips:
    """Read a suite's manifests and refuse what their lines alone rule out.

    Raises
    ------
    RequestError
        No data, one class only, impossible folds, and whatever reading the manifests refuses.
    """
    if suite.data is None:
        raise RequestError(
            "Expected data; the suite names none. Pass --data DIR or --manifest FILE.", code="E_DATA_MISSING"
        )
    own = _leave_out_unknown(read_data(suite.data, machine=machine), suite)
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
    if len(own.clips) < len(clips.own.clips):
        _check_own(own, suite, "manifest without empty and repeated files")
    if clips.external is None:
        return Clips(own, None)
    external = identify(clips.external, machine.store, track=machine.track)
    check_classes(external, "the external manifest without empty and repeated files")
    check_disjoint(own, external)
    return Clips(own, external)


def find_all_faces(clips: Clips, suite: Suite, *, machine: Machine) -> FoundFaces:
    """Find the faces of all clips, as they are and under each perturbation of the suite.

    Raises
    ------
    RequestError
        A class without any usable face.
    """
    found, own = _find(clips.own, suite.faces, machine)
    check_classes(own, "the clips with a usable face")
    rows, skipped = draw_faces(found, suite), [own.skipped]
    count = partial(_files, settings=suite.faces, store=machine.store)
    files, others = [count(OWN, clips.own, found)], None
    if clips.external is not None:
        others, external = _find(clips.external, suite.faces, machine)
        check_classes(external, "the external clips with a usable face")
        skipped.append(external.skipped)
        files.append(count(EXTERNAL, clips.external, others))
    perturbed = {}
    for perturbation in parse_perturbations(suite.perturb):
        asked = _perturbable(own, perturbation, suite)
        if asked.clips.empty:
            machine.say(f"Perturbation {perturbation.name} applies to none of these clips.")
            continue
        faces = _find_perturbed(asked, perturbation, suite, machine=machine)
        perturbed[perturbation.name] = _same_frames(faces, rows)
        # Clips that show no face as they are show none perturbed: both are counted among all.
        settings = perturbed_faces(suite, perturbation.name)
        given = _perturbable(clips.own, perturbation, suite)
        files.append(count(perturbation.name, given, faces, settings=settings))
    every = pd.concat(skipped, ignore_index=True)
    return FoundFaces(rows, others, perturbed, every, pd.concat(files, ignore_index=True))


def perturbed_faces(suite: Suite, name: str) -> FaceSettings:
    """Return the face settings under a perturbation: a clip that loses its faces is counted, never fatal."""
    return replace(suite.faces, perturb=name, no_face="skip")


def _same_frames(faces: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the faces of frames that are used unperturbed, too: a draw holds for all conditions."""
    used = pd.MultiIndex.from_frame(rows[["content", "frame"]])
    return faces[pd.MultiIndex.from_frame(faces[["content", "frame"]]).isin(used)].reset_index(drop=True)


def _perturbable(manifest: Manifest, perturbation: Perturbation, suite: Suite) -> Manifest:
    """Keep the clips that a perturbation applies to and that are tested."""
    clips = manifest.clips
    kept = clips["path"].map(perturbation.applies_to).astype(bool)
    if suite.protocol == "official":
        kept &= clips["split"] == "test"
    return replace(manifest, clips=clips[kept].reset_index(drop=True))


def _find(manifest: Manifest, settings: FaceSettings, machine: Machine) -> tuple[pd.DataFrame, Manifest]:
    return find_faces(
        manifest, settings, store=machine.store, workers=machine.face_workers, track=machine.track
    )


def _find_perturbed(
    manifest: Manifest, perturbation: Perturbation, suite: Suite, *, machine: Machine
) -> pd.DataFrame:
    settings = perturbed_faces(suite, perturbation.name)
    try:
        return _find(manifest, settings, machine)[0]
    except NoFaces as error:  # of what is left of the clips: an answer, too
        machine.say(f"Perturbation {perturbation.name}: {error.message}")
        return manifest.clips.iloc[:0].assign(face=0, frame=0)


def _files(
    data: str, manifest: Manifest, rows: pd.DataFrame, *, settings: FaceSettings, store: Store
) -> pd.DataFrame:
    """Return one line an input file, with the number of faces that it gave and of people in it."""
    table = manifest.clips[["content", "clip", "label", "attack", "split"]]
    faces = table["content"].map(rows["content"].value_counts()).fillna(0).astype(int)
    key = faces_key(settings)
    indexes = [store.face_index(key, content) for content in table["content"]]
    people = np.array([index["people"] if index else 0 for index in indexes], int)
    return table.assign(data=data, faces=faces, people=people)


def draw_faces(rows: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """Draw the same number of real and fake faces from each split that a suite's ``draw`` names.

    The draw follows from the seed and the faces themselves, whatever order they come in. Faces of splits that are
    not named are left out; without ``draw`` all are kept.

    Raises
    ------
    RequestError
        Fewer faces than asked for.
    """
    if not suite.draw:
        return rows
    rng, drawn = np.random.default_rng(suite.seed), []
    ordered = rows.sort_values(["content", "face"])
    for split, count in sorted(suite.draw.items()):
        for label, name in enumerate(("real", "fake")):
            there = ordered.index[(ordered["split"] == split) & (ordered["label"] == label)]
            if len(there) < count:
                raise RequestError(
                    f"Expected at least {count:,} {name} faces with split {split!r} to draw from; got {len(there):,}. "
                    "Lower the number, or take more frames of each clip.",
                    code="E_FACES_FEW",
                )
            drawn.append(rng.choice(there, count, replace=False))
    return rows.loc[np.sort(np.concatenate(drawn))].reset_index(drop=True)


def read_data(data: DataSettings, *, machine: Machine) -> Manifest:
    """Read or generate the clips that a suite names; says what a user must know of them."""
    if data.synthetic is not None:
        home = home_of(data.synthetic, machine)
        return read_manifest(
            generate(data.synthetic, home, workers=machine.face_workers, track=machine.track)
        )
    if data.manifest is not None:
        manifest = read_manifest(data.manifest)
    else:
        _, manifest = read_dataset(data.folder, name=data.dataset, options=data.options)
    skipped = manifest.skipped
    for note in (*manifest.notes, *passed_over(skipped["code"][skipped["outcome"] == "skipped"])):
        machine.say(note)
    _say_unknown(manifest, machine, "data (a manifest or --identity REGEX can name them)")
    return manifest


def _leave_out_unknown(manifest: Manifest, suite: Suite) -> Manifest:
    """Leave out fakes of unknown source where the suite says so and its protocol needs to know."""
    if suite.protocol != "strict" or suite.unknown_sources == "refuse":
        return manifest
    clips = manifest.clips
    unknown = clips["path"][(clips["label"] == 1) & (clips["source_identity"] == "")]
    why = Reason("E_SOURCE_UNKNOWN", "its source identity is not known (protocol strict)")
    return manifest.leave_out(dict.fromkeys(unknown, why))


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
    clips = _drawn_from(manifest.clips, suite)
    if suite.protocol == "frame":
        return  # divides faces, and how many a clip has is not known yet
    folds = identity_folds(clips, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)
    if len(folds) == 1:
        inner_folds(clips, folds[0].train, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)
    elif suite.nests:
        nested_folds(folds, clips["label"].to_numpy())


def _drawn_from(clips: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """Return the clips that faces are drawn from; `RequestError` for a split that no clip has."""
    if not suite.draw:
        return clips
    splits = sorted(set(clips["split"]))
    if strange := [split for split in suite.draw if split not in splits]:
        raise RequestError(
            f"Expected to draw from splits of the clips ({', '.join(map(repr, splits))}); got {strange[0]!r}. "
            "Correct the suite, or fill the column split.",
            code="E_SPLIT_UNKNOWN",
        )
    return clips[clips["split"].isin(list(suite.draw))].reset_index(drop=True)


def check_disjoint(manifest: Manifest, external: Manifest) -> None:
    """Refuse external data that shows people, or holds files, of the data that is trained on.

    Raises
    ------
    RequestError
    """
    for columns, what in ((PEOPLE, "identities"), (("content",), "files")):
        known, new = (people_of(m.clips, columns) for m in (manifest, external))
        if shared := sorted(known & new):
            raise RequestError(
                f"Expected an external manifest of other people and files; it shares {len(shared)} {what} with the "
                f"training data, first {shared[0]}. Remove them from one side (or tell apart equal names).",
                code="E_DATA_SHARED",
            )
