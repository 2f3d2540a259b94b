"""A suite: everything that decides a run, read from TOML and checked before any work starts."""

import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from classify.aggregate import combiner
from classify.calibration import METHODS
from classify.calibration import NONE as UNCALIBRATED
from classify.metrics import METRICS, SELECTION
from classify.models import CLASSIFIERS, check_grid
from classify.protocols import PROTOCOLS
from classify.rules import parse_rule
from classify.search import How
from extract.compute import BackendChoice, ComputeSettings, PrecisionChoice
from extract.datasets.registry import DATASETS
from extract.datasets.synthetic import SyntheticSettings
from extract.errors import RequestError, unknown
from extract.extractor_settings import ExtractorSettings, is_plugin_file
from extract.faces import FACE_DETECTORS, FaceSettings
from extract.media.perturb import parse_perturbations
from extract.names import as_text, find_file

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
OPTIONS = ("identity", "clip", "compression", "manipulations", "group")  # of data sets
NONE = "none"  # TOML has no null; a grid writes max_depth = ["none", 10]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


class DataSettings(_Strict):
    """Where the clips are: exactly one of `manifest`, `folder` and `synthetic`.

    Attributes
    ----------
    manifest : Path
        CSV or Parquet.
    folder : list of Path
        A data set on disk, or several.
    dataset : str, optional
        A name in `DATASETS`; without it the layout is recognised.
    identity, clip, compression, manipulations, group
        Options of the data set, for those that take them.
    synthetic : SyntheticSettings
        The generated demo data.
    """

    manifest: Path | None = None
    folder: Annotated[list[Path], BeforeValidator(_list)] = []
    dataset: str | None = None
    identity: str | None = None
    clip: str | None = None
    compression: str | None = None
    manipulations: Annotated[list[str] | None, BeforeValidator(_list)] = None
    group: str | None = None
    synthetic: SyntheticSettings | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options that are given."""
        return {name: value for name in OPTIONS if (value := getattr(self, name)) is not None}

    @model_validator(mode="after")
    def _one_source(self) -> "DataSettings":
        given = [name for name in ("manifest", "folder", "synthetic") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"Expected one of manifest, folder, synthetic; got {' and '.join(given) or 'none'}."
            )
        if (self.options or self.dataset) and not self.folder:
            first = "dataset" if self.dataset else next(iter(self.options))
            raise ValueError(f"Expected {first} with a folder only; a manifest has columns.")
        return self


class ExternalSettings(_Strict):
    """Clips of other people, on which the chosen thresholds are tried out."""

    manifest: Path


class PublishedThreshold(_Strict):
    """A line of a paper's threshold table, in percent but for the threshold."""

    threshold: float
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


class PublishedSettings(_Strict):
    """Figures from a paper, in percent, shown beside ours: metric -> classifier -> extractor -> figure."""

    source: str
    figures: dict[str, dict[str, dict[str, float]]]
    thresholds: list[PublishedThreshold] = []


def _extractor(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Suite(_Strict):
    """The settings of a run; every field has its name in the TOML file.

    Attributes
    ----------
    name, title : str
        Of the results folder and of the tables.
    data : DataSettings, optional
        Given here or on the command line.
    faces : FaceSettings
    extractors : list of ExtractorSettings
        A name stands for its defaults.
    weights : {"required", "auto"}
        What to do without weights: refuse, or run on random ones, marked.
    backend, precision : str
        What computes the features, see `ComputeSettings`.
    classifiers : mapping of classifier to its grid
    protocol : str
        How identities are kept apart; there is no default.
    unknown_sources : {"refuse", "leave_out"}
        What protocol ``strict`` does with fakes whose source identity is not known.
    draw : mapping of split to int
        Faces of each class to draw from the splits, at random but reproducibly; empty: all.
    folds, seed : int
    metric : str
        Selects the configuration, by its mean over folds.
    search : {"exhaustive", "halving"}
        ``halving`` tries all configurations with few trees or rows and only the best with more, see `classify.search`.
    nested : bool
        Also choose parameters and thresholds inside each fold's training part, see `classify.search.Nested`: what is
        reported then took no part in choosing anything. Without meaning under ``official``, which chooses so anyway.
    level : {"image", "video"}, optional
        Which the main tables show; without it video, or image where every clip is one image.
    aggregate : str
        How the faces of a clip make its score at video level: mean, median, max, or top3 (any number).
    thresholds : list of str
        Rules for tuned thresholds, as `parse_rule` reads them.
    calibration : str
        How scores become probabilities: platt, isotonic, or none.
    perturb : list of str
        Perturbations under which the chosen models and thresholds are tried again, see `parse_perturbations`.
    replicates : int
        Of the bootstrap that intervals come from.
    external : ExternalSettings, optional
    published : PublishedSettings, optional
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    title: str = ""
    data: DataSettings | None = None
    faces: FaceSettings = FaceSettings()
    extractors: Annotated[
        list[Annotated[ExtractorSettings, BeforeValidator(_extractor)]], Field(min_length=1)
    ]
    weights: Literal["required", "auto"] = "required"
    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"
    classifiers: Annotated[dict[str, dict[str, list[Any]]], Field(min_length=1)]
    protocol: str
    unknown_sources: Literal["refuse", "leave_out"] = "refuse"
    draw: dict[str, Annotated[int, Field(ge=1)]] = {}
    folds: Annotated[int, Field(ge=2)] = 5
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    metric: str = "f1"
    search: How = "exhaustive"
    nested: bool = True
    level: Literal["image", "video"] | None = None
    aggregate: str = "mean"
    thresholds: list[str] = ["f1", "youden", "eer"]
    calibration: str = "platt"
    perturb: Annotated[list[str], BeforeValidator(_list)] = []
    replicates: Annotated[int, Field(ge=100)] = 2000
    external: ExternalSettings | None = None
    published: PublishedSettings | None = None

    @property
    def compute(self) -> ComputeSettings:
        """How the networks are to be computed."""
        return ComputeSettings(self.backend, self.precision)

    @property
    def nests(self) -> bool:
        """Whether parameters are also chosen inside each fold; a split that is given leaves nothing to nest."""
        return self.nested and self.protocol != "official"

    def to_toml(self) -> str:
        """Write the suite as TOML that reads back as the same suite."""
        return tomli_w.dumps(_writable(self.model_dump(mode="json", exclude_none=False)))


def builtin_suites() -> dict[str, Path]:
    """Return the suites that come with the package: name -> file."""
    folder = Path(str(files("benchmarks") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_suite(name: str) -> Suite:
    """Read a suite by the name of a built-in one or the path of a TOML file, and check every name in it.

    Relative paths in the file start from its folder.

    Raises
    ------
    RequestError
        No such suite, not TOML, an unknown key (with the nearest name) or value, an unknown extractor,
        classifier, protocol, metric or rule.
    """
    path = builtin_suites().get(name) or Path(name)
    if not path.is_file() and path.suffix != ".toml":
        raise unknown("suite", name, builtin_suites())
    suite = parse_suite(path)
    check_names(suite)
    return suite


def parse_suite(path: Path) -> Suite:
    """Read a TOML file into a `Suite` without looking its names up; raises as `read_suite`."""
    if not path.is_file():
        raise RequestError(
            f"Expected a suite file; {path} does not exist. Check the path.", code="E_FILE_MISSING"
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"Expected TOML in {path}; {error}. Correct the file.", code="E_SUITE") from error
    try:
        suite = Suite.model_validate(_read_none(values))
    except ValidationError as error:
        raise _refusal(error, str(path)) from error
    return _anchor(suite, path.parent)


def check_names(suite: Suite) -> None:
    """Refuse names that nothing is registered under; `RequestError` with the nearest one."""
    PROTOCOLS[suite.protocol]
    if suite.data and suite.data.dataset:
        DATASETS[suite.data.dataset]
    FACE_DETECTORS[suite.faces.detector]
    if suite.metric not in SELECTION:
        raise unknown("metric", suite.metric, SELECTION)
    combiner(suite.aggregate)
    parse_perturbations(suite.perturb)
    if suite.perturb and suite.protocol == "frame":
        raise RequestError(
            "Expected a protocol that keeps clips whole with perturb; got frame. Leave perturb out, or take another.",
            code="E_SUITE",
        )
    for rule in suite.thresholds:
        parse_rule(rule)
    if suite.calibration != UNCALIBRATED:
        METHODS[suite.calibration]
    for classifier, grid in suite.classifiers.items():
        CLASSIFIERS[classifier]
        check_grid(classifier, grid)
    for metric, figures in suite.published.figures.items() if suite.published else ():
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        for classifier in figures:
            CLASSIFIERS[classifier]
    from extract.extractors import (
        check_extractor,  # imports torch, which reading finished results does not need
    )

    for extractor in suite.extractors:
        check_extractor(extractor)
    labels = [extractor.label for extractor in suite.extractors]
    if repeated := [label for label in labels if labels.count(label) > 1]:
        raise RequestError(
            f"Expected different extractors in the suite; got {repeated[0]} twice. Remove one.",
            code="E_SUITE",
        )


def check_nested(suite: Suite) -> None:
    """Refuse to choose inside folds of which too few are left for it.

    Raises
    ------
    RequestError
        Nested, with two folds: inside each there is but one to train on.
    """
    if suite.nests and suite.folds < 3:
        raise RequestError(
            f"Expected at least 3 folds to choose inside each; got {suite.folds}. Use more folds, or nested = false "
            "(--no-nested).",
            code="E_FOLDS_FEW",
        )


def _anchor(suite: Suite, base: Path) -> Suite:
    """Make the paths in a suite absolute."""

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else find_file(base, path).resolve()

    changes: dict[str, Any] = {
        "extractors": [
            ExtractorSettings(**{**vars(e), "name": str(find_file(base, e.name).resolve())})
            if is_plugin_file(e.name)
            else e
            for e in suite.extractors
        ]
    }
    if suite.data:
        folders = [find_file(base, folder).resolve() for folder in suite.data.folder]
        paths = {"manifest": absolute(suite.data.manifest), "folder": folders}
        synthetic = suite.data.synthetic and replace(
            suite.data.synthetic, portraits=absolute(suite.data.synthetic.portraits)
        )
        changes["data"] = suite.data.model_copy(update={**paths, "synthetic": synthetic})
    if suite.external:
        changes["external"] = ExternalSettings(manifest=find_file(base, suite.external.manifest).resolve())
    return suite.model_copy(update=changes)


def _read_none(value: Any) -> Any:
    """Turn the word "none" in grids into None, for max_depth."""
    grids = value.get("classifiers")
    if not isinstance(grids, dict):
        return value
    read = {
        name: {
            key: [None if v == NONE else v for v in values] if isinstance(values, list) else values
            for key, values in grid.items()
        }
        if isinstance(grid, dict)
        else grid
        for name, grid in grids.items()
    }
    return {**value, "classifiers": read}


def _writable(value: Any) -> Any:
    """Leave out keys that are None, write None inside lists as the word, and paths that are not UTF-8 as text."""
    if isinstance(value, dict):
        return {key: _writable(v) for key, v in value.items() if v is not None}
    if isinstance(value, list):
        return [NONE if v is None else _writable(v) for v in value]
    is_text = not isinstance(value, str) or not any("\ud800" <= char <= "\udfff" for char in value)
    return value if is_text else as_text(value)


def _first(error: ValidationError) -> ErrorDetails:
    # A misspelt key is also a missing one: what was written comes first.
    return sorted(error.errors(), key=lambda entry: entry["type"] not in UNKNOWN_KEY)[0]


def _refusal(error: ValidationError, origin: str) -> RequestError:
    """Say in one line what is wrong with a suite first, with the nearest name for an unknown key."""
    first = _first(error)
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] in UNKNOWN_KEY:
        known = _known_keys(first["loc"][:-1])
        refusal = unknown("key", str(first["loc"][-1]), known)
        return RequestError(f"In {origin}: {refusal.message} (at {where})", code=refusal.code)
    cause = first.get("ctx", {}).get("error")
    refusal = cause if isinstance(cause, RequestError) else RequestError(first["msg"], code="E_SUITE")
    message = refusal.message.removeprefix("Value error, ")
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return RequestError(
        f"In {origin}: {where or 'suite'}: {message}{'' if message.endswith('.') else '.'} Correct it.{more}",
        code=refusal.code,
    )


def _known_keys(where: tuple[int | str, ...]) -> list[str]:
    """List the keys that a section of a suite may have."""
    sections: dict[str, Any] = {
        "data": DataSettings,
        "faces": FaceSettings,
        "extractors": ExtractorSettings,
        "external": ExternalSettings,
        "published": PublishedSettings,
        "synthetic": SyntheticSettings,
    }
    names = [part for part in where if part in sections]
    kind = sections[str(names[-1])] if names else Suite
    fields = kind.model_fields if hasattr(kind, "model_fields") else kind.__dataclass_fields__
    return list(fields)
