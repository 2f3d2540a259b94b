"""The clip table: which files, with which label, showing whom."""

import dataclasses
import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from extract.errors import CodedError, RequestError, first_line
from extract.files import write_bytes
from extract.names import as_text, find_file

REQUIRED = ("path", "label")
OPTIONAL = ("identity", "source_identity", "attack", "dataset", "split", "clip")
RESERVED = (
    *("face", "frame", "x1", "y1", "x2", "y2", "confidence"),
    *("fold", "score", "called", "probability", "data"),
)
SKIPPED = ("path", "outcome", "code", "reason")
LABELS = {"0": 0, "1": 1, "real": 0, "fake": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@dataclass(frozen=True)
class Reason:
    """Why a file was not, or not wholly, used: a code that stays, and words that may change."""

    code: str
    text: str

    @classmethod
    def of(cls, error: CodedError) -> "Reason":
        """Take code and words of an error."""
        return cls(error.code, error.message)


@dataclass(frozen=True)
class Manifest:
    """Clips to use, and inputs that were left out on the way here.

    Attributes
    ----------
    clips : DataFrame, one row a file
        ``path`` (absolute, as `names.as_text` writes it), ``label`` (1 = fake, 0 = real), ``identity`` (the person
        whose body and scene is shown), ``source_identity`` (whose face was put in), ``attack``, ``dataset``,
        ``split``, ``clip`` (files with the same value are frames of one clip; the path itself where it was not
        given) as strings, empty where unknown, and any further columns as they came. `pipeline.identify` adds
        ``content``, the SHA-256 of the file.
    skipped : DataFrame, one row a file
        ``path``, ``outcome`` (``skipped``, ``partial``, or ``missing``: not there, but the data set should have
        it), ``code`` and ``reason``.
    notes : tuple of str
        Sentences about the data set that a user must know.
    """

    clips: pd.DataFrame
    skipped: pd.DataFrame
    notes: tuple[str, ...] = ()

    def leave_out(self, reasons: Mapping[str, Reason]) -> "Manifest":
        """Move files (path -> reason) from the clips to the skipped ones."""
        keep = ~self.clips["path"].isin(list(reasons))
        return dataclasses.replace(
            self,
            clips=self.clips[keep].reset_index(drop=True),
            skipped=pd.concat([self.skipped, skip_table(reasons)], ignore_index=True),
        )

    def remark(self, reasons: Mapping[str, Reason]) -> "Manifest":
        """Record files (path -> reason) of which only a part could be used."""
        return dataclasses.replace(
            self, skipped=pd.concat([self.skipped, skip_table(reasons, "partial")], ignore_index=True)
        )


def skip_table(reasons: Mapping[str, Reason], outcome: str = "skipped") -> pd.DataFrame:
    """Make the rows that say why a file was not (``skipped``, ``missing``) or not wholly (``partial``) used."""
    rows = [(path, outcome, reason.code, reason.text) for path, reason in reasons.items()]
    return pd.DataFrame(rows, columns=list(SKIPPED), dtype="str")


def make_manifest(table: pd.DataFrame, *, base: Path, name: str = "manifest") -> Manifest:
    """Validate a clip table.

    Parameters
    ----------
    table : DataFrame
        Columns ``path`` (as `names.as_text` writes it, or as it is) and ``label`` (0/1 or real/fake), and any of
        the optional ones of `Manifest.clips`.
    base : Path
        Folder that relative paths start from.
    name : str
        How errors call the table.

    Raises
    ------
    RequestError
        A missing column, an unknown label, no row, a path that does not exist, a clip with two labels or two
        identities.
    """
    _check_columns(table, name)
    clips = table.reset_index(drop=True)
    for column in OPTIONAL:
        clips[column] = _text(clips[column]) if column in clips else ""
    clips["label"] = _labels(clips["label"], name)
    paths = [find_file(base, str(path)) for path in clips["path"]]
    _check_paths(paths, name)
    clips["path"] = [as_text(path) for path in paths]
    clips["clip"] = clips["clip"].where(clips["clip"] != "", clips["path"])
    _check_clips(clips, name)
    clips = clips[[*REQUIRED, *OPTIONAL, *(c for c in clips if c not in REQUIRED + OPTIONAL)]]
    return Manifest(clips, skip_table({}))


def read_manifest(path: Path) -> Manifest:
    """Read and validate a CSV or Parquet manifest; relative paths start from its own folder.

    Raises
    ------
    RequestError
        As `make_manifest`, or the file is missing or cannot be read as a table.
    """
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        raise RequestError(
            f"Expected a manifest file; got {path}, which {what}. Check the path.", code="E_FILE_MISSING"
        )
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except Exception as error:  # the readers raise whatever their parsers raise
        raise RequestError(
            f"Expected a CSV or Parquet table; got {path} ({first_line(error)}). Check the file.",
            code="E_MANIFEST_UNREADABLE",
        ) from error
    return make_manifest(table, base=path.parent, name=str(path))


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the clip table as Parquet or CSV, by the ending of `path`."""
    table = manifest.clips
    if path.suffix == ".parquet":
        write_bytes(path, table.to_parquet(index=False))
    else:
        write_bytes(path, table.to_csv(index=False).encode())


def check_classes(manifest: Manifest, name: str = "manifest") -> None:
    """Refuse a manifest that holds one class only."""
    present = set(manifest.clips["label"])
    if present != {0, 1}:
        got = {frozenset(): "none", frozenset({0}): "real clips only", frozenset({1}): "fake clips only"}
        raise RequestError(
            f"Expected real and fake clips in {name}; got {got[frozenset(present)]}. Add clips of the other label.",
            code="E_CLASS_MISSING",
        )


def _read_csv(path: Path) -> pd.DataFrame:
    """Read every value as it is written: a person may be called NA or 007."""
    return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)


def _text(values: pd.Series) -> pd.Series:
    """Turn a column into text, empty where missing; 7.0 becomes 7, as a column of numbers with gaps has it."""
    return values.convert_dtypes().astype("string").fillna("").str.strip().astype(str)


def _check_columns(table: pd.DataFrame, name: str) -> None:
    missing = [column for column in REQUIRED if column not in table]
    if missing:
        raise RequestError(
            f"Expected columns path and label in {name}; got {', '.join(map(str, table.columns)) or 'none'}. "
            f"Add {' and '.join(missing)}.",
            code="E_COLUMN_MISSING",
        )
    if taken := [column for column in table if column in RESERVED]:
        raise RequestError(
            f"Expected other names than {', '.join(RESERVED)} for further columns of {name}; got {taken[0]!r}, "
            "which results use. Rename it.",
            code="E_COLUMN_TAKEN",
        )
    if table.empty:
        raise RequestError(
            f"Expected at least one clip in {name}; got none. Add rows.", code="E_CLIPS_MISSING"
        )


def _labels(values: "pd.Series[str]", name: str) -> "pd.Series[int]":
    labels = values.astype(str).str.strip().str.lower().map(LABELS)
    unknown = values[labels.isna()]
    if len(unknown):
        raise RequestError(
            f"Expected labels 0/real or 1/fake in {name}; got {unknown.iloc[0]!r} in row {unknown.index[0] + 1}"
            f"{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''}. Correct the label.",
            code="E_LABEL_UNKNOWN",
        )
    return labels.astype(int)


def _check_paths(paths: list[Path], name: str) -> None:
    missing = [path for path in paths if not _is_there(path)]
    if missing:
        raise RequestError(
            f"Expected files in {name}; {len(missing)} of {len(paths)} paths name none, first {as_text(missing[0])}. "
            "Correct the paths (relative ones start from the manifest's folder).",
            code="E_FILE_MISSING",
        )


def _is_there(path: Path) -> bool:
    """Whether a path is a file, or may be one that cannot be looked at now: then it is left out when it is read."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
    except ValueError:  # a null character
        return False


def _check_clips(clips: pd.DataFrame, name: str) -> None:
    for column in ("label", "identity", "source_identity"):
        mixed = clips.groupby("clip")[column].nunique()
        if (mixed > 1).any():
            raise RequestError(
                f"Expected one {column} a clip in {name}; got several in clip {mixed.idxmax()!r}. "
                "Correct the rows or the clip names.",
                code="E_LABEL_CONFLICT" if column == "label" else "E_IDENTITY_CONFLICT",
            )
