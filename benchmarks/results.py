"""What a run leaves behind: plain files in one folder, whole or absent, from which everything is rebuilt.

run.json                      the key of the run: a folder is continued by the same request only
counts.json                   faces, clips, fakes that were tested, and clips whose person is not known
suite.toml                    the resolved suite, which runs again
environment.json              Python, platform, package versions
extractors.json               per extractor: title, fingerprint, where its weights came from, backend and precision
faces.parquet                 one line a face: content, frame, box, clip, label, identity, ..., fold (-1: not tested)
audit.csv                     what the two sides of each fold share, as `classify.audit` counts it
skipped.csv                   inputs that were not, or not wholly, used: path, outcome, code, reason
files.parquet                 one line an input file: content, clip, label, attack, and how many faces and people it has
units/<extractor>/<classifier>/
    unit.json                 best parameters, those chosen inside each fold, thresholds to deploy
    configurations.parquet    every configuration's fold scores
    predictions.parquet       scores of the best configuration: out-of-fold, test, external and perturbed ones; and
                              nested ones, of what was chosen inside each fold
    estimates.parquet         every figure of the tables with its interval, tidy
    errors.parquet            error rates by attack and by further columns of the manifest
    metrics.parquet           the figures of each fold
    replicates.parquet        figures in each replicate of the bootstrap over people: models are compared by them
DONE                          the last thing written
.lock                         held by the process that writes the folder
"""

import contextlib
import functools
import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from benchmarks.judge import Unit
from benchmarks.suite import Suite, parse_suite
from classify.calibration import Calibration
from classify.device import boosting_device
from classify.search import SearchResult
from extract.errors import RequestError
from extract.files import digest, read_json, whole_directory, write_bytes, write_json
from extract.names import as_text

LOCK = ".lock"
TABLES = ("metrics", "estimates", "errors", "replicates", "predictions")  # of a unit
SOURCES = ("extract", "classify", "benchmarks", "reports")
PACKAGES = (
    *(
        "deepfake-transfer-bench",
        "numpy",
        "pandas",
        "scikit-learn",
        "scipy",
        "xgboost",
        "torch",
        "torchvision",
    ),
    *("timm", "facenet-pytorch", "opencv-python", "av", "pillow", "imagehash", "openvino", "numba"),
)
OPTIONAL = ("scikit-learn-intelex", "pillow-heif")


@dataclass(frozen=True, eq=False)  # equal to itself only, so that what is made of it can be remembered
class Finished:
    """What every finished results folder holds, read back.

    Attributes
    ----------
    extractors : dict
        Label -> ``title``, ``fingerprint``, ``weights`` (directory, package, hub, plugin, random),
        ``source``.
    counts : dict
        As `count` made them when the run was carried out.
    """

    folder: Path
    suite: Suite
    extractors: dict[str, dict[str, Any]]
    counts: dict[str, int]
    faces: pd.DataFrame
    audit: pd.DataFrame
    skipped: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Run(Finished):
    """A finished run.

    Attributes
    ----------
    files : DataFrame, one line an input file
        As `benchmarks.data.FoundFaces` has it.
    units : dict
        (extractor, classifier) -> Unit, in the suite's order.
    """

    files: pd.DataFrame
    units: dict[tuple[str, str], Unit]


@functools.cache
def versions() -> Mapping[str, str]:
    """Return what results depend on beside data and settings: part of a run's key.

    As they were when this process first asked: what it has loaded stays as it is, whatever is installed meanwhile.
    """
    packages = {name: version(name) for name in PACKAGES}
    for name in OPTIONAL:
        with contextlib.suppress(PackageNotFoundError):
            packages[name] = version(name)
    root = Path(__file__).resolve().parents[1]
    code = [file.read_text("utf-8") for part in SOURCES for file in sorted((root / part).rglob("*.py"))]
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **packages,
        "boosting": boosting_device(),
        "source": digest(code)[:16],
    }


def count(faces: pd.DataFrame) -> dict[str, int]:
    """Count what a table's notes say of the data, given one line a face with the fold that tests it."""
    tested = faces[faces["fold"] >= 0]
    clips, tested_clips = (part.drop_duplicates("clip") for part in (faces, tested))
    return {
        "faces": len(tested),
        "fake_faces": int(tested["label"].sum()),
        "clips": len(tested_clips),
        "fake_clips": int(tested_clips["label"].sum()),
        "other_faces": len(faces) - len(tested),
        "other_clips": len(clips) - len(tested_clips),
        "identities": clips["identity"][clips["identity"] != ""].nunique(),
        "unknown": int((clips["identity"] == "").sum()),
    }


@contextlib.contextmanager
def claimed(folder: Path, key: str) -> Iterator[None]:
    """Hold a results folder for the run with this key, one process at a time.

    Raises
    ------
    RequestError
        Not a folder; another run's results are in it; another process is writing it.
    """
    check_out(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            open_folder(folder, key)
            yield
    except Timeout as error:
        raise RequestError(
            f"Expected a results folder that nobody is writing; another process is at {folder}. "
            "Wait for it, or choose another --out.",
            code="E_FOLDER_BUSY",
        ) from error


def check_out(folder: Path) -> None:
    """Refuse a results folder that cannot be one: a file, or a folder with other things in it."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(
            f"Expected a folder for the results; {folder} is a file. Choose another --out.",
            code="E_FOLDER_TAKEN",
        )
    others = [path for path in folder.glob("*") if not path.name.startswith(".tmp-") and path.name != LOCK]
    if others and not (folder / "run.json").is_file():
        raise RequestError(
            f"Expected an empty folder or this run's own; {folder} holds other files. Choose another --out.",
            code="E_FOLDER_TAKEN",
        )


def open_folder(folder: Path, key: str) -> None:
    """Mark a results folder as that of the run with this key.

    Raises
    ------
    RequestError
        Another run's results, or other files, are in it.
    """
    check_out(folder)
    record = read_json(folder / "run.json")
    if record is not None and record["key"] != key:
        raise RequestError(
            f"Expected a new folder or this run's own; {folder} holds a run of other data, settings, weights or "
            "versions. Choose another --out.",
            code="E_FOLDER_TAKEN",
        )
    write_json(folder / "run.json", {"key": key})


def unit_folder(folder: Path, extractor: str, classifier: str) -> Path:
    return folder / "units" / extractor / classifier


def search_folder(final: Path) -> Path:
    """Return where the search of a unit keeps what is finished, until the unit is written."""
    return final.parents[2] / "scratch" / f"search-{final.parent.name}-{final.name}"


def open_units(folder: Path, extractor: str, suite: Suite) -> list[str]:
    """Return the classifiers of a suite that an extractor's results lack."""
    return [c for c in suite.classifiers if not unit_folder(folder, extractor, c).is_dir()]


def write_unit(final: Path, *, found: SearchResult, unit: Unit, scratch: Path) -> None:
    """Write one unit, whole or not at all."""
    with whole_directory(final, scratch=scratch) as folder:
        _plain(found.configurations).to_parquet(folder / "configurations.parquet", index=False)
        for name in TABLES:
            getattr(unit, name).to_parquet(folder / f"{name}.parquet", index=False)
        record = {
            name: getattr(unit, name) for name in ("best", "converged", "nested", "deploy", "unreachable")
        }
        record["calibration"] = {level: c and c.to_dict() for level, c in unit.calibration.items()}
        write_json(folder / "unit.json", record)


def _plain(configurations: pd.DataFrame) -> pd.DataFrame:
    """Write parameters of several types, such as gamma = ["scale", 0.1], as JSON: Parquet has one a column."""
    mixed = [c for c in configurations if len(set(configurations[c].dropna().map(type))) > 1]
    return configurations.assign(**{c: configurations[c].map(json.dumps) for c in mixed})


def write_common(
    folder: Path,
    *,
    suite: Suite,
    faces: pd.DataFrame,
    audit: pd.DataFrame,
    skipped: pd.DataFrame,
    extractors: Mapping[str, Any],
) -> None:
    """Write what the units of a run share."""
    write_bytes(folder / "suite.toml", suite.to_toml().encode())
    write_json(folder / "environment.json", {"platform": platform.platform(), **versions()})
    write_json(folder / "extractors.json", dict(extractors))
    write_json(folder / "counts.json", count(faces))
    write_bytes(folder / "faces.parquet", faces.to_parquet(index=False))
    write_bytes(folder / "audit.csv", audit.to_csv(index=False).encode())
    write_bytes(folder / "skipped.csv", skipped.to_csv(index=False).encode())


def finish(folder: Path) -> None:
    """Mark a run as finished and remove what killed processes left; call it while the folder is claimed."""
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    for leftover in folder.rglob(".tmp-*"):
        leftover.unlink(missing_ok=True)
    write_bytes(folder / "DONE", b"")


def read_run(folder: Path) -> Run:
    """Read a finished run.

    Raises
    ------
    RequestError
        Not a results folder, or an unfinished run.
    """
    common = read_common(folder)
    pairs = [(e, c) for e in common.extractors for c in common.suite.classifiers]
    files = pd.read_parquet(folder / "files.parquet")
    return Run(
        **vars(common), files=files, units={pair: read_unit(unit_folder(folder, *pair)) for pair in pairs}
    )


def read_common(folder: Path) -> Finished:
    """Read what every finished results folder holds; raises as `read_run`."""
    if not (folder / "run.json").is_file():
        raise RequestError(
            f"Expected a results folder; {folder} has no run.json. Check the path.", code="E_RESULTS_MISSING"
        )
    if not (folder / "DONE").is_file():
        raise RequestError(
            f"Expected a finished run; {folder} has no DONE mark. Run the same command again.",
            code="E_RESULTS_UNFINISHED",
        )
    return Finished(
        folder,
        parse_suite(folder / "suite.toml"),
        read_json(folder / "extractors.json"),
        read_json(folder / "counts.json"),
        pd.read_parquet(folder / "faces.parquet"),
        pd.read_csv(folder / "audit.csv"),
        pd.read_csv(folder / "skipped.csv"),
    )


def read_unit(folder: Path) -> Unit:
    """Read one unit."""
    record = read_json(folder / "unit.json")
    record["calibration"] = {
        level: c and Calibration.from_dict(c) for level, c in record["calibration"].items()
    }
    return Unit(**record, **{name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES})


def purge_results(folder: Path, contents: list[str], path: Path) -> int:
    """Delete every line about clips from a results folder; returns their number.

    The figures in the tables, which say nothing of a single clip, stay as they were measured; pictures that are
    drawn again are drawn from what is left.
    """
    for leftover in folder.rglob(".tmp-*"):
        leftover.unlink(missing_ok=True)
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    files = [*folder.rglob("*.parquet"), *folder.rglob("skipped.csv")]
    return sum(_purge_table(file, contents, as_text(path)) for file in sorted(files))


def _purge_table(file: Path, contents: list[str], path: str) -> int:
    is_csv = file.suffix == ".csv"
    table = pd.read_csv(file, keep_default_na=False) if is_csv else pd.read_parquet(file)
    gone = pd.Series(False, index=table.index)
    if "content" in table:
        gone |= table["content"].isin(contents)
    if is_csv:
        gone |= (table["path"] == path) | table["reason"].str.endswith(f"same bytes as {path}")
    if gone.any():
        kept = table[~gone]
        write_bytes(file, kept.to_csv(index=False).encode() if is_csv else kept.to_parquet(index=False))
    return int(gone.sum())
