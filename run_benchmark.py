"""The command line: parse, call, print."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

try:
    import cv2  # noqa: F401  (checked first: its wheel needs libraries from the system)
except ImportError as error:
    sys.exit(
        f"OpenCV cannot be loaded ({error}). It needs libGL and glib from the system; "
        "on Debian or Ubuntu: sudo apt-get install libgl1 libglib2.0-0"
    )

from benchmarks.data import read_data
from benchmarks.machine import Machine
from benchmarks.results import purge_results
from benchmarks.runner import run as run_suite
from benchmarks.suite import DataSettings, Suite, builtin_suites, read_suite
from classify.models import CLASSIFIERS
from extract.datasets.synthetic import SyntheticSettings, generate
from extract.errors import RequestError
from extract.extractors import list_extractors
from extract.faces import faces_key
from extract.pipeline import export_image_folder, find_faces, identify
from extract.progress import terminal_progress
from extract.store import Store
from reports.report import show, write_report

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which frozen backbone with which classifier catches a deepfake, how sure is that number, and where to "
    "put the threshold. Without a command: the demo suite, which needs neither data nor a network.",
)

SuiteOption = Annotated[str, typer.Option(help="Name of a built-in suite (see list), or a TOML file.")]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with real/ and fake/ below it: images or videos, any depth."),
]
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
CacheOption = Annotated[Path, typer.Option(help="Where faces and features are kept, shared by all runs.")]
JobsOption = Annotated[int, typer.Option(min=-1, help="Processes of the grid search; -1: one a core.")]
CACHE = Path("cache")


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        run()


@app.command()
def run(
    suite: SuiteOption = "demo",
    data: DataOption = None,
    manifest: ManifestOption = None,
    identity: IdentityOption = None,
    clip: ClipOption = None,
    weights: Annotated[
        Path | None, typer.Option(help="Directory of weights, named after the extractors.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Results folder; by default results/<suite>-<key>.")
    ] = None,
    cache: CacheOption = CACHE,
    jobs: JobsOption = -1,
) -> None:
    """Run a suite and show its tables; the same command again reuses everything."""
    chosen = _with_data(read_suite(suite), data=data, manifest=manifest, identity=identity, clip=clip)
    folder = run_suite(chosen, machine=_machine(cache, jobs), out=out, weights=weights)
    show(write_report(folder, track=terminal_progress), _console())


@app.command()
def report(results: Annotated[Path, typer.Argument(help="A results folder of a finished run.")]) -> None:
    """Write and show the tables of a finished run again."""
    show(write_report(results, track=terminal_progress), _console())


@app.command(name="list")
def list_all(
    weights: Annotated[Path | None, typer.Option(help="Directory of weights to look into.")] = None,
) -> None:
    """List extractors, with where their weights are on this machine, classifiers and suites."""
    table = Table("extractor", "model", "weights on this machine", box=None)
    for name, (model, where) in list_extractors(weights).items():
        table.add_row(name, model, where or "none: --weights DIR, or the hub where there is a network")
    table.add_row("timm:MODEL", "any timm model", "as above")
    table.add_row("FILE.py", "a plugin", "its own")
    console = _console()
    console.print(table, markup=False)
    console.print("\nclassifiers: ", ", ".join(CLASSIFIERS))
    console.print("suites:      ", ", ".join(builtin_suites()))


@app.command()
def faces(
    image_folder: Annotated[Path, typer.Option(help="Where to write the tree that ImageFolder reads.")],
    suite: SuiteOption = "demo",
    data: DataOption = None,
    manifest: ManifestOption = None,
    identity: IdentityOption = None,
    clip: ClipOption = None,
    cache: CacheOption = CACHE,
) -> None:
    """Crop faces as a suite says and export them as real|fake/<clip>_<frame>.png, below the split if any."""
    chosen = _with_data(read_suite(suite), data=data, manifest=manifest, identity=identity, clip=clip)
    assert chosen.data is not None  # _with_data
    machine = _machine(cache, 1)
    clips = identify(read_data(chosen.data, machine=machine), machine.store, track=machine.track)
    rows, clips = find_faces(clips, chosen.faces, store=machine.store, track=machine.track)
    count = export_image_folder(
        rows, image_folder, store=machine.store, faces=faces_key(chosen.faces), track=machine.track
    )
    for line in clips.skipped.itertuples():
        _say(f"{line.outcome}: {line.path}: {line.reason}")
    _say(f"{count} faces in {image_folder}")


@app.command()
def purge(
    clip: Annotated[Path, typer.Argument(help="The clip's file.")],
    cache: CacheOption = CACHE,
    results: Annotated[Path, typer.Option(help="Folder of results folders to clean, too.")] = Path("results"),
) -> None:
    """Remove every trace of a clip from the caches and from results; the file itself is yours to delete."""
    store, path = Store(cache.resolve()), clip.absolute()
    contents = store.contents_of(path)
    if not contents:
        raise RequestError(f"Expected a clip that exists or was used before; got {clip}. Check the path.")
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
    settings = SyntheticSettings(identities=identities, portraits=portraits, seed=seed)
    _say(f"Manifest: {generate(settings, out, track=terminal_progress)}")


def main() -> None:
    """Run the command line: exit status 0 done, 2 the request was wrong, 1 anything else."""
    try:
        app()
    except RequestError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"[bold red]error:[/] {_escape(str(error))}"
        )
        sys.exit(2)


def _with_data(
    suite: Suite, *, data: Path | None, manifest: Path | None, identity: str | None, clip: str | None
) -> Suite:
    """Put the clips of the command line in the place of the suite's own."""
    if data and manifest:
        raise RequestError("Expected one of --data and --manifest; got both. Leave one out.")
    if (identity or clip) and not data:
        raise RequestError("Expected --data with --identity or --clip; got none. Add --data DIR.")
    if manifest:
        suite = suite.model_copy(update={"data": DataSettings(manifest=manifest.resolve())})
    if data:
        chosen = DataSettings(folder=data.resolve(), identity=identity, clip=clip)
        suite = suite.model_copy(update={"data": chosen})
    if suite.data is None:
        raise RequestError(
            f"Expected data for suite {suite.name}; got none. Add --data DIR or --manifest FILE."
        )
    return suite


def _machine(cache: Path, jobs: int) -> Machine:
    if jobs == 0:
        raise RequestError(
            "Expected --jobs of at least 1, or -1 for one a core; got 0. Choose another number."
        )
    if cache.exists() and not cache.is_dir():
        raise RequestError(f"Expected a folder for the cache; {cache} is a file. Choose another --cache.")
    return Machine(Store(cache.resolve()), n_jobs=jobs, track=terminal_progress, say=_say)


def _console() -> Console:
    """Standard output, wide enough for the tables where it is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _say(line: str) -> None:
    typer.echo(line)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()
