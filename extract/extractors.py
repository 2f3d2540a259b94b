"""Frozen networks behind names: faces in, features out."""

import functools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from extract.compute import ComputeSettings, as_recorded, choose
from extract.errors import RequestError, first_line
from extract.extractor_settings import ExtractorSettings, is_plugin_file
from extract.files import digest
from extract.media.frames import Image
from extract.networks import NETWORKS, Network, find_network
from extract.plugins import installed_plugins, plugin_function
from extract.prepared import PREPROCESSING, FacesToFeatures
from extract.weights import WeightSettings, available, find
from extract.workers import threads

BATCH = 16  # faces that are handed over at once where they come one by one
DEFAULT_COMPUTE = ComputeSettings()


@runtime_checkable
class Extractor(Protocol):
    """A frozen network with its preprocessing.

    ``fingerprint`` must change whenever the same face could give other features: it keys the cache.
    """

    name: str
    fingerprint: str

    @property
    def dim(self) -> int:
        """Number of features of a face."""
        ...

    def __call__(self, faces: Image) -> npt.NDArray[np.float32]:
        """Turn (n, s, s, 3) uint8 RGB faces into (n, dim) float32 features."""
        ...


class Backend(Protocol):
    """What computes a network: (n, s, s, 3) uint8 faces, at least one -> (n, d) float32, the same in any batch."""

    def __call__(self, faces: Image) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True)
class Recipe:
    """All that another process needs to load the same frozen network."""

    settings: ExtractorSettings
    weights: WeightSettings
    compute: ComputeSettings


class FrozenNetwork:
    """A network in evaluation mode as an `Extractor`.

    Attributes
    ----------
    name, title : str
        In folders and in tables.
    weights : str
        ``directory``, ``package``, ``hub`` or ``random``.
    weights_source : str
        Which file, package, repository or seed.
    backend, precision : str
        What computes the features on this machine; they key the cache beside the fingerprint.
    recipe : Recipe
    """

    def __init__(self, network: Network, recipe: Recipe) -> None:
        settings = recipe.settings
        self._found = find(network.blueprint, settings=recipe.weights, head=settings.tap == "logits")
        self._network = network
        self.name, self.title = settings.label, " ".join([network.title, *settings.variant])
        self.weights, self.weights_source = self._found.kind, self._found.source
        self.settings, self.recipe = settings, recipe
        self.backend, self.precision = choose(
            recipe.compute, name=self.name, half=network.half, binary=network.binary
        )
        preprocessing = [
            PREPROCESSING,
            settings.size,
            settings.crop_fraction,
            "bicubic",
            network.mean,
            network.std,
        ]
        self.fingerprint = digest(
            [network.blueprint.model, network.code, self._found.identity, preprocessing, settings.tap]
        )

    @functools.cached_property
    def network(self) -> nn.Module:
        """The frozen network; built when first needed, so that cached features cost no network."""
        return self._found.network.eval().requires_grad_(False)

    @functools.cached_property
    def prepared(self) -> FacesToFeatures:
        """The network with its preprocessing."""
        settings, network = self.settings, self._network
        return FacesToFeatures(
            self.network,
            size=settings.size,
            crop_fraction=settings.crop_fraction,
            mean=network.mean,
            std=network.std,
        ).eval()

    @functools.cached_property
    def dim(self) -> int:
        """Number of features of a face; `RequestError` where the network does not take the input size."""
        size = self.settings.size
        _ = self.network  # its own errors are not about the size
        try:
            with torch.inference_mode():
                return int(self.prepared(torch.zeros((1, size, size, 3), dtype=torch.uint8)).shape[1])
        except (RuntimeError, AssertionError) as error:  # what torch and timm raise for sizes
            raise RequestError(
                f"Expected an input size that {self.name} takes; got {size} ({first_line(error)}). Try 224.",
                code="E_EXTRACTOR",
            ) from error

    @functools.cached_property
    def _backend(self) -> Backend:
        _ = self.dim  # before a GPU takes the network over
        return make_backend(self._network, self.prepared, self.backend, self.precision)

    def prepare(self, side: int) -> str:
        """Build what computes faces of `side` pixels, so that what does not work is refused before the work.

        Returns
        -------
        str
            Why torch was taken where the backend was for us to choose and OpenVINO cannot compute the network; else
            empty. `backend`, `precision` and `recipe` are then others.
        """
        if self.backend != "openvino":
            self.dim  # noqa: B018  (builds the network)
            if self.backend == "packed":
                self._backend  # noqa: B018  (compiles its kernels)
            return ""
        try:
            self._backend.prepare(side)  # type: ignore[attr-defined]
        except RequestError as error:
            asked = self.recipe.compute
            if asked.backend != "auto":
                raise
            self.backend, self.precision = "torch", "fp32" if asked.precision == "auto" else asked.precision
            self.recipe = replace(self.recipe, compute=as_recorded(self.backend, self.precision))
            del self._backend
            return error.message
        return ""

    def __call__(self, faces: Image) -> npt.NDArray[np.float32]:
        """Turn (n, s, s, 3) uint8 RGB faces into (n, dim) float32 features."""
        square = faces.ndim == 4 and faces.shape[1] == faces.shape[2] and faces.shape[3] == 3
        if not square or faces.dtype != np.uint8:
            raise ValueError(f"Expected faces (n, s, s, 3) uint8; got {faces.shape} {faces.dtype}.")
        return self._backend(faces) if len(faces) else np.empty((0, self.dim), np.float32)


def make_backend(network: Network, prepared: FacesToFeatures, backend: str, precision: str) -> Backend:
    """Make what computes a network, as `choose` chose it, with this process's share of the cores.

    What a backend needs is imported with it.
    """
    if backend == "openvino":
        from extract.openvino_backend import OpenVINOBackend

        return OpenVINOBackend(prepared, precision=precision, threads=threads(), any_batch=network.any_batch)
    if backend == "packed":
        from extract.packed_backend import PackedBackend

        return PackedBackend(prepared, threads=threads())
    from extract.torch_backend import CudaBackend, TorchBackend

    return (CudaBackend if backend == "cuda" else TorchBackend)(prepared, precision=precision)


def check_extractor(settings: ExtractorSettings) -> None:
    """Refuse a name that `load_extractor` would refuse, without building anything."""
    if is_plugin_file(settings.name):
        plugin_function(settings.name)
    elif settings.name not in installed_plugins():
        find_network(settings.name, settings.size)
        return
    if settings != ExtractorSettings(name=settings.name):
        raise RequestError(
            f"Expected no further settings for the plugin {settings.name}, which has its own; got "
            f"{settings.label}. Leave out tap, size, crop_fraction and weights.",
            code="E_EXTRACTOR",
        )


def load_extractor(
    settings: ExtractorSettings, *, weights: WeightSettings, compute: ComputeSettings = DEFAULT_COMPUTE
) -> Extractor:
    """Make the extractor that a suite names.

    Parameters
    ----------
    compute : ComputeSettings
        For our networks; a plugin computes as it does.

    Raises
    ------
    RequestError
        Unknown name, no weights, a plugin that is not one, a backend or a precision that is not there. Weights that
        do not match the network are refused when it is built: at the first use of `dim` or of the extractor.
    """
    plugins = installed_plugins()
    if settings.weights == "random":
        weights = replace(weights, policy="random")
    if is_plugin_file(settings.name):
        return _check_plugin(plugin_function(settings.name)(), settings.name)
    if settings.name in plugins:
        return _check_plugin(plugins[settings.name].load()(), settings.name)
    return FrozenNetwork(
        find_network(settings.name, settings.size), Recipe(settings, weights=weights, compute=compute)
    )


def list_extractors(directory: Path | None) -> dict[str, tuple[str, str]]:
    """Return name -> (model, where its weights are on this machine or empty) without asking the network."""
    networks = {name: NETWORKS[name](224).blueprint for name in NETWORKS}
    found = {name: (b.model, available(b, directory=directory)) for name, b in networks.items()}
    plugins = {
        name: (f"plugin {point.value}", "plugin: its own") for name, point in installed_plugins().items()
    }
    return {**found, **plugins}


def _check_plugin(made: object, name: str) -> Extractor:
    wanted: dict[str, type] = {"name": str, "dim": int, "fingerprint": str}
    wrong = [key for key, kind in wanted.items() if not isinstance(getattr(made, key, None), kind)]
    if wrong or not callable(made):
        raise RequestError(
            f"Expected an object with name, dim, fingerprint and __call__ from {name}; "
            f"{type(made).__name__} lacks {', '.join(wrong) or '__call__'}. Add them.",
            code="E_EXTRACTOR",
        )
    assert isinstance(made, Extractor)
    if not re.fullmatch(r"[\w.+-]+", made.name) or made.name.startswith("."):
        raise RequestError(
            f"Expected letters, digits, '.', '_', '+' and '-' in the name of the extractor of {name}; "
            f"got {made.name!r}. Rename it.",
            code="E_EXTRACTOR",
        )
    return made


def weights_of(extractor: Extractor) -> tuple[str, str]:
    """Return kind and source of an extractor's weights; a plugin that does not say is ``plugin``."""
    kind = str(getattr(extractor, "weights", "plugin"))
    return kind, str(getattr(extractor, "weights_source", kind))


def title_of(extractor: Extractor) -> str:
    """Return an extractor's title in tables; its name where it has none."""
    return str(getattr(extractor, "title", extractor.name))


def features_key(extractor: Extractor, faces_key: str) -> str:
    """Name the store folder of an extractor's features of faces cropped by `faces_key`."""
    return f"{extractor.name}-{extractor.fingerprint[:16]}-{'-'.join(backend_of(extractor))}/{faces_key}"


def backend_of(extractor: Extractor) -> tuple[str, str]:
    """Return backend and precision of an extractor; a plugin that does not say has its own."""
    return str(getattr(extractor, "backend", "plugin")), str(getattr(extractor, "precision", "own"))
