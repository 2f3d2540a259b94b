"""A detector's folder: plain files, each vouched for by its SHA-256 and checked before it is read.

detector.json                 everything that is not an array, and the SHA-256 of every other file
models/fold-0.skops, ...      the fold models (.json for XGBoost), see `benchmarks.detector_models`
reference/face-0.png, ...     drawn faces, of nobody
reference/features.npy        their features when the detector was exported, (n, d) float32
reference/scores.npy          their scores from those features, (n,) float64
card.md                       what the detector is, for people

The digest of the detector is that of detector.json, which holds all others. A digest inside the folder protects
against damage. Whoever can write the folder can write that digest, too: against strangers protects only a digest that
came another way.
"""

import contextlib
import hashlib
import io
import json
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from extract.errors import RequestError, first_line
from extract.extractor_settings import ExtractorSettings
from extract.faces import FaceSettings
from extract.files import digest

MAIN = "detector.json"
FORMAT = 1
REFERENCE = 4  # faces
LARGEST = (
    2048  # side of crops and of network inputs, pixels: far above any in use, far below what fills a memory
)
# Of margin, frames and max_pixels: a stranger's settings must not fill a memory either.
WIDEST, MOST_FRAMES, MOST_PIXELS = 10, 10_000, 1_000_000_000
Figure = str | int | float | bool | None
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ExtractorRecord(_Strict):
    """The extractor of a detector.

    Attributes
    ----------
    settings : ExtractorSettings
        Of a plugin file the name alone, without its folder: a detector names no code to run.
    name, title, fingerprint, backend, precision : str
        As the extractor had them when the detector was exported.
    dim : int
        Number of features of a face.
    weights, source : str
        Kind and source, without folders.
    seed : int
        Of random weights.
    """

    settings: ExtractorSettings
    name: str
    title: str
    fingerprint: str
    dim: Annotated[int, Field(ge=1, le=2**20)]
    backend: str
    precision: str
    weights: str
    source: str
    seed: Seed


class ClassifierRecord(_Strict):
    """The classifier of a detector: a name in `CLASSIFIERS`, its parameters, its seed and the number of models."""

    name: str
    parameters: dict[str, Figure]
    seed: Seed
    models: Annotated[int, Field(ge=1, le=1000)]
    refit: bool


class DataRecord(_Strict):
    """What a detector was trained on: numbers only, nobody's name."""

    protocol: str
    counts: dict[str, int]
    attacks: dict[str, int]


class Record(_Strict):
    """The contents of detector.json.

    Attributes
    ----------
    format : int
        Version of this layout.
    faces, faces_key
        Settings of the crops, and what names them together with the code that makes them.
    decoding : int
        Decoding revision, see `extract.media.DECODING`; 0 in folders from before it was recorded.
    level, aggregate, rule, threshold
        A score at or above the threshold is fake; a clip's score is the aggregate of its faces'.
    threshold_low, threshold_high : float, optional
        Its 95 % interval.
    calibration : dict, optional
        As `classify.calibration` writes it.
    prior : float, optional
        The share of fakes that probabilities are for, where it is another than that of the data.
    metrics : list of dict
        The figures of the run for this level and rule with their intervals, one entry a metric and data.
    versions : dict
        Of the packages that made it.
    files : dict
        Name -> SHA-256 of every other file.
    checksum : str
        SHA-256 of all the rest of this file.
    """

    format: Literal[1]
    name: str
    faces: FaceSettings
    faces_key: str
    decoding: Annotated[int, Field(ge=0)] = 0
    extractor: ExtractorRecord
    classifier: ClassifierRecord
    level: Literal["image", "video"]
    aggregate: str
    rule: str
    threshold: float
    threshold_low: float | None
    threshold_high: float | None
    calibration: dict[str, Any] | None
    prior: Annotated[float, Field(gt=0, lt=1)] | None
    metrics: list[dict[str, Figure]]
    data: DataRecord
    versions: dict[str, str]
    files: dict[str, Sha256]
    checksum: Sha256

    @model_validator(mode="after")
    def _usable(self) -> "Record":
        largest = max(self.faces.size, self.extractor.settings.size)
        if largest > LARGEST:
            raise ValueError(f"faces of {largest} pixels; at most {LARGEST} are taken")
        if self.faces.margin > WIDEST or self.faces.frames > MOST_FRAMES:
            raise ValueError(f"a margin above {WIDEST} or more than {MOST_FRAMES:,} frames a clip")
        if self.faces.max_pixels > MOST_PIXELS:
            raise ValueError(f"frames of more than {MOST_PIXELS:,} pixels")
        return self


def to_bytes(values: Mapping[str, Any]) -> bytes:
    """Write the contents of detector.json, with their checksum, in the one form that is read back."""
    values = {key: value for key, value in values.items() if key != "checksum"}
    text = json.dumps({**values, "checksum": digest(values)}, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def file_digest(data: bytes) -> str:
    """Hash bytes: SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def intact(what: str) -> Iterator[None]:
    """Turn whatever goes wrong with a detector's contents into a `RequestError` that names the part."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:  # hostile bytes raise anything: nothing of it may reach the user as a defect
        raise _damaged(f"{what}: {first_line(error)}") from error


def _damaged(what: str) -> RequestError:
    return RequestError(
        f"Expected an intact detector; got {what.rstrip('.')}. Export it again, or get it anew from where it came."
    )


def read_folder(folder: Path, *, demanded: str | None) -> tuple[Record, dict[str, bytes], str]:
    """Read a detector's folder, each file once, and check every digest before anything in it is parsed.

    Parameters
    ----------
    demanded : str, optional
        The digest that the detector must have.

    Returns
    -------
    Record, contents by file name, digest

    Raises
    ------
    RequestError
        Not a detector, another one, damaged, or with files that it does not vouch for.
    """
    if not (folder / MAIN).is_file():
        raise RequestError(f"Expected the folder of a detector; {folder} has no {MAIN}. Check the path.")
    with intact(f"{MAIN} that cannot be read"):
        data = (folder / MAIN).read_bytes()
    found = file_digest(data)
    if demanded is not None and found != demanded.strip().lower():
        raise RequestError(
            f"Expected the detector with digest {demanded}; {folder} has {found}. Do not use it: get the right one."
        )
    record = _read_record(data)
    with intact("files that cannot be read"):
        files = _read_files(folder, record)
    return record, files, found


def _read_record(data: bytes) -> Record:
    with intact(f"{MAIN} that is not what an export writes"):
        values = json.loads(data)
        if to_bytes(values) != data:
            raise ValueError("its checksum or its form differs")
        try:
            record = Record.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{where or 'file'}: {first['msg']}") from error
    return record


def _read_files(folder: Path, record: Record) -> dict[str, bytes]:
    _check_names(list(record.files), record)
    entries = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    there = {path.relative_to(folder).as_posix(): path for path in entries}
    if strange := sorted(there.keys() - record.files.keys() - {MAIN}):
        raise _damaged(f"the file {strange[0]}, which it does not vouch for")
    if missing := sorted(record.files.keys() - there.keys()):
        raise _damaged(f"no file {missing[0]}")
    contents = {name: _read_file(there[name], name, sha256=record.files[name]) for name in record.files}
    return contents


def _check_names(names: list[str], record: Record) -> None:
    """Refuse other files than those that a detector of so many models has: no name leads out of the folder."""
    models = {name for name in names if re.fullmatch(r"models/fold-\d+\.(skops|json)", name)}
    ending = Path(min(models, default="")).suffix
    numbered = {f"models/fold-{number}{ending}" for number in range(record.classifier.models)}
    rest = {"card.md", "reference/features.npy", "reference/scores.npy"}
    rest |= {reference_name(number) for number in range(REFERENCE)}
    if models != numbered or set(names) != models | rest:
        raise _damaged("another list of files")


def reference_name(number: int) -> str:
    """Name the file of a reference face."""
    return f"reference/face-{number}.png"


def _read_file(path: Path, name: str, *, sha256: str) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise _damaged(f"{name}, which is not a plain file")
    data = path.read_bytes()
    if file_digest(data) != sha256:
        raise _damaged(f"{name} with other contents than its SHA-256 says")
    return data


def write_array(values: npt.NDArray[Any]) -> bytes:
    """Turn an array into the bytes of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def read_array(data: bytes, *, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Read a .npy file of known shape and type; ValueError for any other, or for numbers that are not finite."""
    wanted = np.zeros(shape, dtype)
    example = write_array(wanted)
    header = len(example) - wanted.nbytes
    if len(data) != len(example) or data[:header] != example[:header]:
        raise ValueError(f"it is not {shape} {np.dtype(dtype)}")
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not np.isfinite(array).all():
        raise ValueError("it is not finite")
    return np.asarray(array)


def png_size(data: bytes) -> tuple[int, int]:
    """Return width and height that a PNG states, before anything is decoded; ValueError for other files."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        raise ValueError("it is not a PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height
