"""Several data sets as one: people told apart by data set, and Celeb-DF v1 and v2 showing the same ones."""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path

import pandas as pd

from extract.datasets.listing import SPLITS, UNEXPLAINED, glance
from extract.errors import RequestError
from extract.manifest import Manifest, Reason, skip_table
from extract.names import as_text

PEOPLE_OF = {"celebdf_v1": "celebdf", "celebdf_v2": "celebdf"}  # other data sets have people of their own
OWN_PEOPLE = ("celebdf", "faceforensics", "dfdc")


def find_members(
    root: Path, known: Callable[[Path], bool], *, limit: int | None = None
) -> tuple[list[Path], list[Path]]:
    """Look for data sets one or two levels below a folder.

    Parameters
    ----------
    limit : int, optional
        Entries to look at in each folder.

    Returns
    -------
    members : list of Path
        Folders that are `known`; never one called train, val or test, which is a part of a data set.
    others : list of Path
        Files and folders that are not, and hold none.
    """
    members, others = [], []
    for entry in _entries(root, limit):
        if _is_member(entry, known):
            members.append(entry)
            continue
        inner = _entries(entry, limit)
        below = [path for path in inner if _is_member(path, known)]
        members += below
        others += [path for path in inner if path not in below] if below else [entry]
    return members, others


def join(members: Mapping[Path, Manifest], others: Sequence[Path] = ()) -> Manifest:
    """Put the clips of several data sets into one manifest.

    People get the name of their data set in front, where the manifest gives one (unless it is there already),
    and that of their folder where it does not: equal names in different folders are different people.

    Raises
    ------
    RequestError
        A file that two members hold.
    """
    labels = _labels(members)
    tables = [_apart(manifest.clips, labels[root]) for root, manifest in members.items()]
    clips = pd.concat(tables, ignore_index=True)
    clips = clips.fillna({name: "" for name in clips if not pd.api.types.is_numeric_dtype(clips[name])})
    if (again := clips["path"].duplicated()).any():
        raise RequestError(
            f"Expected each file in one of the data sets; got {clips.loc[again, 'path'].iloc[0]} twice. "
            "Leave one of them out.",
            code="E_FILE_TWICE",
        )
    strange = Reason("E_LAYOUT_UNKNOWN", f"no known data set; {UNEXPLAINED.text}")
    left = {as_text(path.absolute()): strange for path in others}
    skipped = pd.concat([*(m.skipped for m in members.values()), skip_table(left)], ignore_index=True)
    notes = tuple(f"{labels[root]}: {note}" for root, manifest in members.items() for note in manifest.notes)
    return Manifest(clips, skipped, notes)


def _entries(folder: Path, limit: int | None) -> list[Path]:
    return sorted(Path(entry) for entry in glance(folder, limit))


def _is_member(path: Path, known: Callable[[Path], bool]) -> bool:
    return path.is_dir() and path.name not in SPLITS and known(path)


def _labels(members: Mapping[Path, Manifest]) -> dict[Path, str]:
    """Name the members after their folders, so that no name stands for two."""
    spaces = {space for manifest in members.values() for space in manifest.clips["dataset"]}
    labels: dict[Path, str] = {}
    for root, manifest in members.items():
        # The name of a folder becomes that of its people where the manifest does not say it.
        unsaid = (manifest.clips["dataset"] == "").any()
        taken = {*labels.values(), *((*spaces, *OWN_PEOPLE, *PEOPLE_OF) if unsaid else ())}
        name = as_text((root.with_suffix("") if root.is_file() else root).absolute().name)
        names = (f"{name}-{n}" if n > 1 else name for n in count(1))
        labels[root] = next(label for label in names if label not in taken)
    return labels


def _apart(clips: pd.DataFrame, label: str) -> pd.DataFrame:
    """Give the clips of one member names that no other member has."""
    said = clips["dataset"] != ""
    spaces = clips["dataset"].replace(PEOPLE_OF).where(said, label)
    own = (clips["clip"] != clips["path"]) & (clips["clip"] != "")
    return clips.assign(
        identity=_prefixed(clips["identity"], spaces, said),
        source_identity=_prefixed(clips["source_identity"], spaces, said),
        dataset=clips["dataset"].where(said, label),
        clip=clips["clip"].where(~own, label + "/" + clips["clip"]),
    )


def _prefixed(people: "pd.Series[str]", spaces: "pd.Series[str]", said: "pd.Series[bool]") -> list[str]:
    """Put a name space in front of people; where the manifest gave it, it may be there already."""
    return [
        who if not who or (given and who.startswith(f"{space}/")) else f"{space}/{who}"
        for who, space, given in zip(people, spaces, said, strict=True)
    ]
