"""Extractors from outside: a Python file, or an installed package with an entry point."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from extract.errors import RequestError, first_line
from extract.files import digest
from extract.networks import NETWORKS

GROUP = "deepfake_transfer_bench.extractors"


def installed_plugins() -> dict[str, EntryPoint]:
    """Return the extractors of installed packages; `RequestError` where one takes a built-in name."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    taken = [name for name in points if name in NETWORKS]
    if taken:
        raise RequestError(
            f"Expected new names in the entry points {GROUP}; got {taken[0]!r}, which is built in.",
            code="E_EXTRACTOR",
        )
    return points


def plugin_function(name: str) -> Callable[[], object]:
    """Import a plugin file and return its function; `RequestError` if there is none."""
    file, _, function = name.partition(":")
    path, function = Path(file), function or "extractor"
    if not path.is_file():
        raise RequestError(
            f"Expected a plugin file; {path} does not exist. Check the path.", code="E_FILE_MISSING"
        )
    spec = importlib.util.spec_from_file_location(f"extractor_plugin_{digest(str(path.resolve()))[:8]}", path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses and annotations look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RequestError(
            f"Expected a plugin that can be imported; {path} raises {type(error).__name__}: {first_line(error)}. "
            "Correct it.",
            code="E_EXTRACTOR",
        ) from error
    made = getattr(module, function, None)
    if not inspect.isroutine(made) and not inspect.isclass(made):
        raise RequestError(
            f"Expected a function {function}() in {path}; it has none. Define it.", code="E_EXTRACTOR"
        )
    return made
