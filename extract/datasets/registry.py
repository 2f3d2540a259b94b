"""The data sets that can be read, by name or by what their folder looks like."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.datasets import celebdf, crops, dfdc, faceforensics, folder, frames
from extract.datasets.combined import find_members, join
from extract.errors import RequestError
from extract.manifest import Manifest, read_manifest
from extract.registry import Registry

GLANCE = 100  # sub-folders that are looked at for data sets to combine


@dataclass(frozen=True)
class Dataset:
    """A layout of files.

    Attributes
    ----------
    title : str
        Its name for people.
    matches : function of a path
        Whether this is such a data set; cheap, looking at names of folders and a few files.
    read : function of a path, with `options` by keyword
    options : tuple of str
    crops : bool
        Its images are face crops already.
    layout : str
        What its folder looks like, in a few words.
    """

    title: str
    matches: Callable[[Path], bool]
    read: Callable[..., Manifest]
    options: tuple[str, ...] = ()
    crops: bool = False
    layout: str = ""


DATASETS: Registry[Dataset] = Registry("data set")


def recognise(path: Path, options: Iterable[str] = ()) -> str:
    """Return the name of the one data set that a path looks like and that takes all `options`.

    Raises
    ------
    RequestError
        The path does not exist, looks like none, or like several, or like one that takes other options.
    """
    if not os.path.exists(path):
        raise RequestError(
            f"Expected clips in {path}, which does not exist. Check the path.", code="E_FOLDER_MISSING"
        )
    matching = [name for name in DATASETS if DATASETS[name].matches(path)]
    if not matching:
        known = "; ".join(f"{name} ({DATASETS[name].layout})" for name in DATASETS)
        raise RequestError(
            f"Expected a known layout in {path}; got none of: {known}. Check the path.",
            code="E_LAYOUT_UNKNOWN",
        )
    fitting = [name for name in matching if set(options) <= set(DATASETS[name].options)]
    if not fitting:
        _check_options(options, matching)
    if len(fitting) != 1:
        choices = " or ".join(f"--dataset {name}" for name in fitting or matching)
        raise RequestError(
            f"{path} matches {' and '.join(fitting or matching)}. Pass {choices}.", code="E_LAYOUT_SEVERAL"
        )
    return fitting[0]


def holds_crops(roots: Sequence[Path], name: str) -> bool:
    """Whether the images of a data set, or of all that are combined, are face crops already."""
    if name != "combined":
        return DATASETS[name].crops
    members, _ = _members(roots, None)
    return all(DATASETS[kind].crops for kind in members.values())


def read_dataset(
    roots: Sequence[Path], *, name: str | None = None, options: Mapping[str, Any] | None = None
) -> tuple[str, Manifest]:
    """Read the clips below one path, or below several as one.

    Parameters
    ----------
    roots : sequence of Path
        Folders, or manifests.
    name : str, optional
        The data set, of each of them; recognised where it is not given.
    options : mapping, optional
        Of the data set; where several are combined, each goes to those that take it.

    Returns
    -------
    name : str
        ``combined`` for several.
    manifest : Manifest

    Raises
    ------
    RequestError
        A path that is not recognised, an option that is not taken, and whatever the data set refuses.
    """
    if not roots:
        raise RequestError(
            "Expected at least one folder or manifest; got none. Name one.", code="E_DATA_MISSING"
        )
    roots, options = [Path(root) for root in roots], options or {}
    if len(roots) > 1 or name == "combined":
        return "combined", _read_combined(roots, options, name=None if name == "combined" else name)
    name = name or recognise(roots[0], options)
    _check_options(options, [name])
    return name, DATASETS[name].read(roots[0], **options)


def _read_combined(roots: Sequence[Path], options: Mapping[str, Any], *, name: str | None = None) -> Manifest:
    """Read several data sets, or those below folders, each with the options that it takes."""
    members, others = _members(roots, name)
    _check_options(options, sorted(set(members.values())))
    _check_crops(members)
    read = {
        root: DATASETS[kind].read(root, **{k: v for k, v in options.items() if k in DATASETS[kind].options})
        for root, kind in members.items()
    }
    return join(read, others)


def _members(roots: Sequence[Path], name: str | None) -> tuple[dict[Path, str], list[Path]]:
    """Name the data set of each root, or of those below it; also what is none."""
    members: dict[Path, str] = {}
    others: list[Path] = []
    for root in roots:
        kind = name or ("combined" if _is_combined(root) else recognise(root))
        inner, rest = find_members(root, _is_dataset) if kind == "combined" else ([], [])
        members |= {path: _recognise_member(path) for path in inner} if inner else {root: kind}
        others += rest
    return members, others


def _recognise_member(path: Path) -> str:
    matching = [name for name in DATASETS if DATASETS[name].matches(path)]
    if len(matching) > 1:
        raise RequestError(
            f"{path} matches {' and '.join(matching)}. Prepare it by itself with --dataset, and pass its manifest "
            "beside the other folders.",
            code="E_LAYOUT_SEVERAL",
        )
    return matching[0]


def _check_options(options: Iterable[str], names: Sequence[str]) -> None:
    known = sorted({option for name in names for option in DATASETS[name].options})
    if strange := [option for option in options if option not in known]:
        takes = f"takes {' and '.join(known)}" if known else "takes no options"
        raise RequestError(
            f"Expected an option of {' and '.join(names)}, which {takes}; got {strange[0]}. Leave it out.",
            code="E_OPTION",
        )


def _check_crops(members: Mapping[Path, str]) -> None:
    """Refuse to mix images that faces are still to be found in with those where this is done."""
    ready = [path for path, name in members.items() if DATASETS[name].crops]
    if 0 < len(ready) < len(members):
        other = next(path for path in members if path not in ready)
        raise RequestError(
            f"Expected face crops only, or none; got {ready[0]} with crops and {other} without. Leave one out.",
            code="E_CROPS_MIXED",
        )


def _is_dataset(path: Path) -> bool:
    return any(DATASETS[name].matches(path) for name in DATASETS if name != "combined")


def _is_combined(path: Path) -> bool:
    return not _is_dataset(path) and bool(find_members(path, _is_dataset, limit=GLANCE)[0])


def _is_table(path: Path) -> bool:
    return path.is_file() and path.suffix in (".csv", ".parquet")


for _name, _dataset in {
    "faceforensics": Dataset(
        "FaceForensics++",
        faceforensics.matches_faceforensics,
        faceforensics.read_faceforensics,
        options=("compression", "manipulations"),
        layout=faceforensics.LAYOUT,
    ),
    "celebdf": Dataset("Celeb-DF", celebdf.matches_celebdf, celebdf.read_celebdf, layout=celebdf.LAYOUT),
    "dfdc": Dataset("DFDC", dfdc.matches_dfdc, dfdc.read_dfdc, ("group",), layout=dfdc.LAYOUT),
    "folder": Dataset(
        "Folder", folder.matches_folder, folder.read_folder, ("identity", "clip"), layout=folder.LAYOUT
    ),
    "frames": Dataset(
        "Frame folders", frames.matches_frames, frames.read_frames, ("identity",), layout=frames.LAYOUT
    ),
    "crops": Dataset(
        "Face crops", crops.matches_crops, crops.read_crops, ("identity",), crops=True, layout=crops.LAYOUT
    ),
    "manifest": Dataset("Manifest", _is_table, read_manifest, layout="a .csv or .parquet file"),
    "combined": Dataset(
        "Combined data sets",
        _is_combined,
        lambda root, **options: _read_combined([root], options),
        options=("clip", "compression", "group", "identity", "manipulations"),
        layout="folders of the others, one or two levels down",
    ),
}.items():
    DATASETS.add(_name, _dataset)
