"""The command line: parse, call, print."""

import errno
import gc
import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.ending import end_with  # first of ours

try:
    import cv2  # noqa: F401  (first: its wheel needs libraries from the system)
except ImportError as error:
    sys.exit(
        f"OpenCV cannot be loaded ({error}). It needs libGL and glib from the system; "
        "on Debian or Ubuntu: sudo apt-get install libgl1 libglib2.0-0"
    )

# What imports torch is imported where it is used: questions to finished results are answered in a moment.
from benchmarks.begun import data_begun
from benchmarks.machine import Machine
from benchmarks.suite import DataSettings, Suite, builtin_suites, check_names, read_suite
from classify.models import CLASSIFIERS
from classify.protocols import PROTOCOLS
from extract.cluster import connect
from extract.compute import BackendChoice, PrecisionChoice
from extract.datasets.registry import DATASETS
from extract.errors import RequestError, unknown
from extract.names import printable
from extract.progress import terminal_progress
from extract.store import Store
from extract.workers import GARBAGE, cores

T = TypeVar("T")
app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help texts hold square brackets
    help="Which frozen backbone with which classifier catches a deepfake, how sure is that number, and where to "
    "put the threshold. Without a command: the demo suite, which needs neither data nor a network.",
)

SuiteOption = Annotated[str, typer.Option(help="Name of a built-in suite (see list), or a TOML file.")]
DataOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", help="Folder of a data set (see list); its layout is recognised. Several: combined."
    ),
]
DatasetOption = Annotated[str | None, typer.Option(help="Data set that --data is, where it is not clear.")]
ManifestOption = Annotated[
    Path | None, typer.Option(help="CSV or Parquet with path,label and, where known, more.")
]
IdentityOption = Annotated[
    str | None, typer.Option(help="Regular expression that takes the person from a path below --data.")
]
ClipOption = Annotated[
    str | None,
    typer.Option(help="Regular expression that takes the clip from a path, for folders of frames."),
]
CompressionOption = Annotated[
    str | None, typer.Option(help="Of FaceForensics++: raw, c23 or c40, where there are several.")
]
ManipulationOption = Annotated[
    list[str] | None, typer.Option("--manipulation", help="Of FaceForensics++; repeat it for several.")
]
GroupOption = Annotated[
    str | None,
    typer.Option(help="Of DFDC: family (clips of one original) or part (a whole part) is a person."),
]
ProtocolOption = Annotated[str | None, typer.Option(help=f"In place of the suite's: {', '.join(PROTOCOLS)}.")]
NestedOption = Annotated[
    bool | None,
    typer.Option(help="Whether parameters are also chosen inside each fold; by default as the suite says."),
]
UnknownOption = Annotated[
    bool, typer.Option("--leave-out-unknown", help="With strict: leave out fakes whose source is not known.")
]
ExtractorOption = Annotated[
    list[str] | None, typer.Option("--extractor", help="Only this one of the suite's; repeat it for several.")
]
ClassifierOption = Annotated[
    list[str] | None,
    typer.Option("--classifier", help="Only this one of the suite's; repeat it for several."),
]
WeightsOption = Annotated[Path | None, typer.Option(help="Directory of weights, named after the extractors.")]
OutOption = Annotated[Path | None, typer.Option(help="Results folder; by default results/<suite>-<key>.")]
CacheOption = Annotated[Path, typer.Option(help="Where faces and features are kept, shared by all runs.")]
JobsOption = Annotated[int, typer.Option(min=-1, help="Processes of the grid search; -1: one a core.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes that find faces and compute features; by default one a core for faces, and for features one "
        "that uses all cores.",
    ),
]
BackendOption = Annotated[
    str | None,
    typer.Option(help="What computes the networks: auto, openvino, torch or cuda; by default the suite's."),
]
PrecisionOption = Annotated[
    str | None, typer.Option(help="Of the networks: auto, fp32, bf16 or fp16; by default the suite's.")
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="A Dask scheduler, whose workers find faces, compute features and search; local:N starts N here.",
    ),
]
CACHE = Path("cache")
_UsageError: Any = (
    typer.BadParameter.__base__
)  # of wrong words, which may be names of files; typer does not export it


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        run()


@app.command()
def run(
    suite: SuiteOption = "demo",
    data: DataOption = None,
    dataset: DatasetOption = None,
    manifest: ManifestOption = None,
    identity: IdentityOption = None,
    clip: ClipOption = None,
    compression: CompressionOption = None,
    manipulation: ManipulationOption = None,
    group: GroupOption = None,
    protocol: ProtocolOption = None,
    leave_out_unknown: UnknownOption = False,
    nested: NestedOption = None,
    extractor: ExtractorOption = None,
    classifier: ClassifierOption = None,
    weights: WeightsOption = None,
    out: OutOption = None,
    cache: CacheOption = CACHE,
    jobs: JobsOption = -1,
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    backend: BackendOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Run a suite and show its tables; the same command again reuses everything."""
    options = _options(identity, clip, compression, manipulation, group)
    chosen = _with_data(read_suite(suite), data=data, dataset=dataset, manifest=manifest, options=options)
    chosen = _narrowed(chosen, protocol=protocol, extractors=extractor, classifiers=classifier)
    chosen = _nesting(_leaving_out(chosen, leave_out_unknown), nested)
    chosen = _computing(chosen, backend, precision)
    weights, machine = weights and weights.resolve(), _machine(cache, jobs, workers)
    if cluster and workers:
        raise RequestError(
            "Expected --workers or --cluster, which has its own; got both. Leave one out.", code="E_OPTION"
        )
    folders, inputs = (
        [cache, out.parent if out else Path("results")],
        [*_sources(chosen), *filter(None, [weights])],
    )
    with (
        _connected(machine, cluster, folders=folders, inputs=inputs) as machine,
        data_begun(chosen, machine=machine),
    ):
        from benchmarks.runner import run as run_suite

        folder = run_suite(chosen, machine=machine, out=out, weights=weights)
    from reports.report import show, write_report

    show(write_report(folder, track=terminal_progress), _console())


@app.command()
def compare(
    comparison: Annotated[
        str, typer.Argument(help="leakage, attacks, datasets or new-attack.", show_default=False)
    ],
    suite: SuiteOption = "demo",
    data: DataOption = None,
    dataset: DatasetOption = None,
    manifest: ManifestOption = None,
    identity: IdentityOption = None,
    clip: ClipOption = None,
    compression: CompressionOption = None,
    manipulation: ManipulationOption = None,
    group: GroupOption = None,
    protocol: ProtocolOption = None,
    leave_out_unknown: UnknownOption = False,
    extractor: ExtractorOption = None,
    classifier: ClassifierOption = None,
    attack: Annotated[
        list[str] | None,
        typer.Option("--attack", help="For new-attack: only this one; repeat it for several."),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(min=1, help="Repeats with other folds, or for new-attack draws in each fold."),
    ] = None,
    weights: WeightsOption = None,
    out: OutOption = None,
    cache: CacheOption = CACHE,
    jobs: JobsOption = -1,
    workers: WorkersOption = None,
    backend: BackendOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Compare training sets on the same cached features: leakage, other attacks or data sets, a new attack."""
    options = _options(identity, clip, compression, manipulation, group)
    chosen = _with_data(read_suite(suite), data=data, dataset=dataset, manifest=manifest, options=options)
    chosen = _narrowed(chosen, protocol=protocol, extractors=extractor, classifiers=classifier)
    chosen = _leaving_out(chosen, leave_out_unknown)
    chosen = _computing(chosen, backend, precision)
    machine = _machine(cache, jobs, workers)
    with data_begun(chosen, machine=machine):
        from benchmarks.compare import compare as compare_training

        folder = compare_training(
            comparison,
            chosen,
            machine=machine,
            out=out,
            weights=weights,
            repeats=repeats,
            attacks=attack or [],
        )
    from reports.report import show, write_report

    show(write_report(folder, track=terminal_progress), _console())


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help=f"One of: {', '.join(DATASETS)}.", show_default=False)],
    data: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Its folder; several for combined.")],
    out: Annotated[Path, typer.Option(help="The manifest to write: .parquet or .csv.")],
    identity: IdentityOption = None,
    clip: ClipOption = None,
    compression: CompressionOption = None,
    manipulation: ManipulationOption = None,
    group: GroupOption = None,
) -> None:
    """Read a data set's folder, say what is there and what is missing, and write its manifest."""
    from extract.datasets.findings import findings
    from extract.datasets.registry import read_dataset
    from extract.files import write_bytes
    from extract.manifest import write_manifest

    if out.suffix not in (".parquet", ".csv"):
        raise RequestError(
            f"Expected --out to end in .parquet or .csv; got {out}. Rename it.", code="E_OPTION"
        )
    options = _options(identity, clip, compression, manipulation, group)
    name, manifest = read_dataset([path.resolve() for path in data], name=dataset, options=options)
    for line in findings(name, manifest):
        _say(line)
    write_manifest(manifest, out)
    _say(f"Manifest: {out}")
    if len(manifest.skipped):
        rest = out.with_name(f"{out.stem}-left-out.csv")
        write_bytes(rest, manifest.skipped.to_csv(index=False).encode())
        _say(f"Files left out or missing, each with the reason: {rest}")


@app.command()
def report(results: Annotated[Path, typer.Argument(help="A results folder of a finished run.")]) -> None:
    """Write and show the tables of a finished run again."""
    from reports.report import show, write_report

    show(write_report(results, track=terminal_progress), _console())


@app.command()
def threshold(
    results: Annotated[Path, typer.Argument(help="A results folder of a finished run.")],
    rule: Annotated[
        str,
        typer.Option(
            help='What to choose it for: f1, balanced_accuracy, youden, mcc, eer, "fpr<=0.01", "recall>=0.95", '
            '"apcer<=0.05", "cost(missed=20, rejected=1)", or default.'
        ),
    ],
    level: Annotated[
        str | None, typer.Option(help="image or video; by default that of the main table.")
    ] = None,
    prior: Annotated[float | None, typer.Option(help="Share of fakes to expect.")] = None,
    extractor: Annotated[str | None, typer.Option(help="By default that of the best model.")] = None,
    classifier: Annotated[str | None, typer.Option(help="By default that of the best model.")] = None,
) -> None:
    """Choose a threshold from a finished run's scores; say what it costs; draw the curves."""
    from reports.output import show_table
    from reports.threshold import answer, describe, threshold_table

    if level not in (None, "image", "video"):
        raise RequestError(f"Expected --level image or video; got {level}. Correct it.", code="E_OPTION")
    run, model, tried = answer(
        results, rule=rule, level=level, prior=prior, extractor=extractor, classifier=classifier
    )
    for line in describe(run, model, tried, prior=prior):
        _say(line)
    table = threshold_table(run, model, tried)
    show_table(table, _console())
    from reports.threshold_plots import write_curves  # drawing comes after the answer

    _say(f"Curves and table: {write_curves(run, model, tried, table, prior=prior)}")


@app.command(name="export")
def export(
    results: Annotated[Path, typer.Argument(help="A results folder of a finished run.")],
    out: Annotated[Path, typer.Option(help="The detector's folder; new or empty.")],
    extractor: Annotated[str | None, typer.Option(help="Of the run; by default the best.")] = None,
    classifier: Annotated[str | None, typer.Option(help="Of the run; by default the best.")] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help="What chooses the threshold, as in `threshold`; by default the suite's first rule."
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(help="image: for single faces; video: for clips; by default that of the main table."),
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(help="Probabilities: none, platt or isotonic; by default the suite's.")
    ] = None,
    prior: Annotated[float | None, typer.Option(help="Share of fakes that probabilities are for.")] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="One model on all data; its threshold is approximate.")
    ] = False,
    onnx: Annotated[
        Path | None, typer.Option(help="Folder for classifier and extractor as ONNX files, too.")
    ] = None,
    cache: CacheOption = CACHE,
    weights: WeightsOption = None,
) -> None:
    """Make a detector of a finished run: extractor, classifier and threshold in one folder."""
    from benchmarks.detector_export import export_detector
    from reports.summary import headline
    from reports.threshold import choose_model, read_models

    run = read_models(results)
    model = choose_model(run, extractor, classifier)
    rule = rule or next(iter(run.suite.thresholds), "default")
    level = level or headline(run)
    _say(f"Detector: {model[0]} with {model[1]}, rule {rule} at {level} level")
    digest = export_detector(
        results,
        extractor=model[0],
        classifier=model[1],
        rule=rule,
        level=level,
        out=out,
        machine=_machine(cache, 1),
        weights=weights,
        calibration=calibration,
        prior=prior,
        refit=refit,
        onnx=onnx,
    )
    _say(f"Written:  {out}")
    _say(f"Digest:   {digest}")
    _say("Keep the digest apart from the folder: predict --digest accepts this detector alone.")


@app.command(name="predict")
def predict(
    detector: Annotated[Path, typer.Argument(help="A detector's folder.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Images, videos, folders of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    frames: Annotated[
        Path | None, typer.Option(help="Show every face, and write the frames with boxes and scores here.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option(help="The digest that export printed: no other is used.")
    ] = None,
    extractor: Annotated[
        Path | None, typer.Option(help="FILE.py of the extractor, where the detector was made with a plugin.")
    ] = None,
    weights: WeightsOption = None,
) -> None:
    """Say of each file whether its faces are fake, as soon as it is known."""
    import json

    from benchmarks.detector import Detector
    from benchmarks.show import annotate, describe, expand

    if frames and frames.exists() and not frames.is_dir():
        raise RequestError(
            f"Expected a folder for --frames; {frames} is a file. Choose another.", code="E_FOLDER_TAKEN"
        )
    plugin = _plugin(extractor)
    loaded = Detector.load(detector, digest=digest, weights=weights, extractor=plugin, say=_warn)
    for number, prediction in enumerate(loaded.predict(expand(files, say=_note))):
        pictures = annotate(prediction, loaded.record.faces, out=frames, number=number) if frames else []
        if as_json:
            more = {"pictures": list(map(str, pictures))} if frames else {}
            _say(json.dumps(prediction.to_dict() | more))
        else:
            for line in describe(prediction, every_face=frames is not None):
                _say(line)


@app.command(name="list")
def list_all(
    weights: Annotated[Path | None, typer.Option(help="Directory of weights to look into.")] = None,
) -> None:
    """List extractors, with where their weights are on this machine, and every other name."""
    from benchmarks.compare import COMPARISONS
    from classify.calibration import METHODS
    from classify.rules import COST, DEMANDS, RULES
    from extract.extractors import list_extractors
    from extract.media.perturb import FAMILIES

    table = Table("extractor", "model", "weights on this machine", box=None)
    for name, (model, where) in list_extractors(weights).items():
        table.add_row(
            name, model, printable(where) or "none: --weights DIR, or the hub where there is a network"
        )
    table.add_row("timm:MODEL", "any timm model", "as above")
    table.add_row("FILE.py", "a plugin", "its own")
    console = _console()
    console.print(table, markup=False)
    console.print("\nclassifiers: ", ", ".join(CLASSIFIERS))
    console.print("suites:      ", ", ".join(builtin_suites()))
    console.print("data sets:   ", ", ".join(DATASETS))
    console.print("thresholds:  ", ", ".join([*RULES, *(f"{demand}SHARE" for demand in DEMANDS), COST]))
    console.print("calibrations:", ", ".join(METHODS))
    console.print("perturb:     ", ", ".join(FAMILIES))
    console.print("protocols:")
    for name in PROTOCOLS:
        kind = PROTOCOLS[name]
        console.print(f"  {name:<10} {kind.apart}{' (LEAKY)' if kind.leaky else ''}", highlight=False)
    console.print("comparisons:")
    for name in COMPARISONS:
        console.print(f"  {name:<10} {COMPARISONS[name].title}", highlight=False)


@app.command()
def faces(
    image_folder: Annotated[Path, typer.Option(help="Where to write the tree that ImageFolder reads.")],
    suite: SuiteOption = "demo",
    data: DataOption = None,
    dataset: DatasetOption = None,
    manifest: ManifestOption = None,
    identity: IdentityOption = None,
    clip: ClipOption = None,
    compression: CompressionOption = None,
    manipulation: ManipulationOption = None,
    group: GroupOption = None,
    cache: CacheOption = CACHE,
    workers: WorkersOption = None,
) -> None:
    """Crop and draw faces as a suite says; export them as [split/]real|fake/<clip>_<frame>.png, verified."""
    from benchmarks.export import describe_export, export_faces

    options = _options(identity, clip, compression, manipulation, group)
    chosen = _with_data(read_suite(suite), data=data, dataset=dataset, manifest=manifest, options=options)
    exported = export_faces(chosen, image_folder, machine=_machine(cache, 1, workers))
    for line in describe_export(exported):
        _say(line)
    _say(f"{exported['faces'].sum():,} faces in {image_folder}")


@app.command()
def purge(
    clip: Annotated[Path, typer.Argument(help="The clip's file.")],
    cache: CacheOption = CACHE,
    results: Annotated[Path, typer.Option(help="Folder of results folders to clean, too.")] = Path("results"),
) -> None:
    """Remove every trace of a clip from the caches and from results; the file itself is yours to delete."""
    from benchmarks.results import purge_results

    store, path = Store(cache.resolve()), clip.absolute()
    contents = store.contents_of(path)
    if not contents:
        raise RequestError(
            f"Expected a clip that exists or was used before; got {clip}. Check the path.",
            code="E_FILE_MISSING",
        )
    # Results first: the caches remember which clip the file was, for a purge that has to be repeated.
    lines = sum(purge_results(folder.parent, contents, path) for folder in sorted(results.glob("*/run.json")))
    traces = store.purge(contents, path=path)
    _say(f"Deleted {traces} cached things and {lines} lines of results about {clip}.")


@app.command(name="generate")
def generate_clips(
    out: Annotated[Path, typer.Argument(help="Folder for the clips and clips.csv.")],
    identities: Annotated[int, typer.Option(min=2, help="Number of persons.")] = 24,
    portraits: Annotated[
        Path | None, typer.Option(help="Folder of portraits, one person each, instead of drawings.")
    ] = None,
    seed: int = 0,
) -> None:
    """Generate clips of persons and forge half of them, as in the demo, or from photographs."""
    from extract.datasets.synthetic import SyntheticSettings, generate

    settings = SyntheticSettings(identities=identities, portraits=portraits, seed=seed)
    _say(f"Manifest: {generate(settings, out, workers=cores(), track=terminal_progress)}")


def command() -> None:
    """Run the command line as a process of its own, which ends with it."""
    gc.set_threshold(GARBAGE)
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, int):
            end_with(end.code)
        raise


def main() -> None:
    """Run the command line: exit status 0 done, 2 the request was wrong, 1 anything else."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name must not end a run where the terminal is ASCII.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except _UsageError as error:
        vars(error)["message"] = printable(vars(error)["message"])
        error.show()
        sys.exit(2)
    except typer.Abort:
        sys.exit("Aborted.")
    except RequestError as error:
        _print_error(str(error))
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" ({error.filename})" if error.filename else ""
        _print_error(
            f"{error.strerror}{where}. Free some, and run again: what is finished is kept. [E_DISK_FULL]"
        )
        sys.exit(1)


def _print_error(message: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        Text.assemble(("error:", "bold red"), f" {printable(message)}")
    )


def _options(
    identity: str | None,
    clip: str | None,
    compression: str | None,
    manipulation: list[str] | None,
    group: str | None,
) -> dict[str, Any]:
    """Return the data set options that were given."""
    every = {
        "identity": identity,
        "clip": clip,
        "compression": compression,
        "manipulations": manipulation or None,
        "group": group,
    }
    return {name: value for name, value in every.items() if value is not None}


def _with_data(
    suite: Suite,
    *,
    data: list[Path] | None,
    dataset: str | None,
    manifest: Path | None,
    options: dict[str, Any],
) -> Suite:
    """Put the clips of the command line in the place of the suite's own."""
    if data and manifest:
        raise RequestError("Expected one of --data and --manifest; got both. Leave one out.", code="E_OPTION")
    if (options or dataset) and not data:
        given = "dataset" if dataset else next(iter(options)).replace("manipulations", "manipulation")
        raise RequestError(f"Expected --data with --{given}; got none. Add --data DIR.", code="E_OPTION")
    if manifest:
        suite = suite.model_copy(update={"data": DataSettings(manifest=manifest.resolve())})
    if data:
        folder = [path.resolve() for path in data]
        suite = suite.model_copy(update={"data": DataSettings(folder=folder, dataset=dataset, **options)})
        check_names(suite)
    if suite.data is None:
        raise RequestError(
            f"Expected data for suite {suite.name}; got none. Add --data DIR or --manifest FILE.",
            code="E_DATA_MISSING",
        )
    return suite


def _narrowed(
    suite: Suite, *, protocol: str | None, extractors: list[str] | None, classifiers: list[str] | None
) -> Suite:
    """Keep only some of a suite's extractors and classifiers, and take another protocol."""
    changes: dict[str, Any] = {"protocol": protocol or suite.protocol}
    if extractors:
        known = {extractor.label: extractor for extractor in suite.extractors}
        changes["extractors"] = [_among(known, name, "extractor") for name in extractors]
    if classifiers:
        changes["classifiers"] = {n: _among(suite.classifiers, n, "classifier") for n in classifiers}
    suite = suite.model_copy(update=changes)
    check_names(suite)
    return suite


def _leaving_out(suite: Suite, leave_out_unknown: bool) -> Suite:
    return suite.model_copy(update={"unknown_sources": "leave_out"}) if leave_out_unknown else suite


def _nesting(suite: Suite, nested: bool | None) -> Suite:
    return suite if nested is None else suite.model_copy(update={"nested": nested})


def _computing(suite: Suite, backend: str | None, precision: str | None) -> Suite:
    """Take another backend and precision than the suite's."""
    asked = {
        "backend": (backend, get_args(BackendChoice)),
        "precision": (precision, get_args(PrecisionChoice)),
    }
    for name, (value, known) in asked.items():
        if value is not None and value not in known:
            raise unknown(name, value, known)
    return suite.model_copy(update={name: value for name, (value, _) in asked.items() if value is not None})


def _among(known: Mapping[str, T], name: str, kind: str) -> T:
    if name not in known:
        raise unknown(f"{kind} of the suite", name, known)
    return known[name]


def _sources(suite: Suite) -> list[Path]:
    """Return the folders that a suite's data is read from, or that a manifest of it lies in."""
    if suite.data is None:
        return []
    manifests = [suite.data.manifest, suite.external and suite.external.manifest]
    portraits = suite.data.synthetic.portraits if suite.data.synthetic else None
    parents = [path.parent for path in manifests if path]
    return [*suite.data.folder, *parents, *([portraits] if portraits else [])]


def _machine(cache: Path, jobs: int, workers: int | None = None) -> Machine:
    if jobs == 0:
        raise RequestError(
            "Expected --jobs of at least 1, or -1 for one a core; got 0. Choose another number.",
            code="E_OPTION",
        )
    for option, processes in (("--jobs", jobs), ("--workers", workers or 1)):
        if processes > cores():
            raise RequestError(
                f"Expected {option} of at most {cores()}, a process a core; got {processes}. Choose another number.",
                code="E_OPTION",
            )
    if cache.exists() and not cache.is_dir():
        raise RequestError(
            f"Expected a folder for the cache; {cache} is a file. Choose another --cache.",
            code="E_FOLDER_TAKEN",
        )
    return Machine(
        Store(cache.resolve()),
        n_jobs=jobs,
        face_workers=workers or cores(),
        feature_workers=workers or 1,
        track=terminal_progress,
        say=_say,
    )


@contextmanager
def _connected(
    machine: Machine, address: str | None, *, folders: list[Path], inputs: list[Path]
) -> Iterator[Machine]:
    """Put the workers of a cluster, where one is named, in place of this machine's processes."""
    if address is None:
        yield machine
        return
    from benchmarks.results import versions

    with connect(address, folders=folders, versions=versions, inputs=inputs) as cluster:
        _say(f"{cluster.workers} workers at {address}, threads each: {cluster.threads}")
        yield replace(machine, face_workers=cluster, feature_workers=cluster, cluster=cluster)


def _plugin(file: Path | None) -> Any:
    """Load the extractor of a plugin file that the user names."""
    from extract.extractor_settings import ExtractorSettings, is_plugin_file
    from extract.extractors import load_extractor
    from extract.weights import WeightSettings

    if file is not None and not is_plugin_file(str(file)):
        raise RequestError(
            f"Expected a plugin, FILE.py, for --extractor; got {file}. Leave it out for networks.",
            code="E_OPTION",
        )
    return file and load_extractor(ExtractorSettings(name=str(file)), weights=WeightSettings())


def _warn(line: str) -> None:
    print(printable(f"warning: {line}"), file=sys.stderr, flush=True)


def _note(line: str) -> None:
    print(printable(f"note: {line}"), file=sys.stderr, flush=True)


def _console() -> Console:
    """Standard output, wide enough for the tables where it is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _say(line: str) -> None:
    """Print a line; not by typer, which writes UTF-8 where another encoding is asked for."""
    print(printable(line), flush=True)


if __name__ == "__main__":
    command()
