"""Frozen networks behind names: faces in, features out."""

import functools
import re
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from extract.errors import RequestError, first_line
from extract.extractor_settings import ExtractorSettings, is_plugin_file
from extract.files import digest
from extract.networks import NETWORKS, Network, find_network
from extract.plugins import installed_plugins, plugin_function
from extract.video import Image
from extract.weights import WeightSettings, available, find

PREPROCESSING = 1  # of `preprocess` below: raise it when it gives other inputs
BATCH = 16  # fixed and padded: the same face gives the same bits, whatever stands beside it


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


class FrozenNetwork:
    """A network in evaluation mode as an `Extractor`, on the CPU in float32.

    Attributes
    ----------
    name, title : str
        In folders and in tables.
    weights : str
        ``directory``, ``package``, ``hub`` or ``random``.
    weights_source : str
        Which file, package, repository or seed.
    backend, precision : str
        What computes the features; they key the cache beside the fingerprint.
    """

    backend = "torch"
    precision = "fp32"

    def __init__(self, network: Network, *, settings: ExtractorSettings, weights: WeightSettings) -> None:
        self._found = find(network.blueprint, settings=weights, head=settings.tap == "logits")
        self.name, self.title = settings.label, " ".join([network.title, *settings.variant])
        self.weights, self.weights_source = self._found.kind, self._found.source
        self.settings = settings
        self._mean = torch.tensor(network.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(network.std).view(1, 3, 1, 1)
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
    def dim(self) -> int:
        """Number of features of a face; `RequestError` where the network does not take the input size."""
        size = self.settings.size
        _ = self.network  # its own errors are not about the size
        try:
            return int(self._run(np.zeros((1, size, size, 3), np.uint8)).shape[1])
        except (RuntimeError, AssertionError) as error:  # what torch and timm raise for sizes
            raise RequestError(
                f"Expected an input size that {self.name} takes; got {size} ({first_line(error)}). Try 224."
            ) from error

    def __call__(self, faces: Image) -> npt.NDArray[np.float32]:
        """Turn (n, s, s, 3) uint8 RGB faces into (n, dim) float32 features."""
        square = faces.ndim == 4 and faces.shape[1] == faces.shape[2] and faces.shape[3] == 3
        if not square or faces.dtype != np.uint8:
            raise ValueError(f"Expected faces (n, s, s, 3) uint8; got {faces.shape} {faces.dtype}.")
        starts = range(0, len(faces), BATCH)
        return np.concatenate(
            [np.empty((0, self.dim), np.float32), *(self._padded(faces[i : i + BATCH]) for i in starts)]
        )

    def _padded(self, faces: Image) -> npt.NDArray[np.float32]:
        full = np.zeros((BATCH, *faces.shape[1:]), np.uint8)
        full[: len(faces)] = faces
        return self._run(full)[: len(faces)]

    def _run(self, faces: Image) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            features = self.network(self.preprocess(torch.from_numpy(faces)))
        return np.asarray(features.numpy(), np.float32)

    def preprocess(self, faces: Tensor) -> Tensor:
        """Scale (n, s, s, 3) uint8 faces to the network's input and normalise them: (n, 3, size, size) float32."""
        x = faces.permute(0, 3, 1, 2).float() / 255
        size = self.settings.size
        seen = round(size / self.settings.crop_fraction)
        if x.shape[-1] != seen:
            x = F.interpolate(x, size=(seen, seen), mode="bicubic", antialias=True).clamp(0, 1)
        edge = (seen - size) // 2
        return (x[..., edge : edge + size, edge : edge + size] - self._mean) / self._std


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
            f"{settings.label}. Leave out tap, size, crop_fraction and weights."
        )


def load_extractor(settings: ExtractorSettings, *, weights: WeightSettings) -> Extractor:
    """Make the extractor that a suite names.

    Raises
    ------
    RequestError
        Unknown name, no weights, a plugin that is not one. Weights that do not match the network are refused when
        it is built: at the first use of `dim` or of the extractor.
    """
    plugins = installed_plugins()
    if settings.weights == "random":
        weights = replace(weights, policy="random")
    if is_plugin_file(settings.name):
        return _check_plugin(plugin_function(settings.name)(), settings.name)
    if settings.name in plugins:
        return _check_plugin(plugins[settings.name].load()(), settings.name)
    return FrozenNetwork(find_network(settings.name, settings.size), settings=settings, weights=weights)


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
            f"{type(made).__name__} lacks {', '.join(wrong) or '__call__'}. Add them."
        )
    assert isinstance(made, Extractor)
    if not re.fullmatch(r"[\w.+-]+", made.name) or made.name.startswith("."):
        raise RequestError(
            f"Expected letters, digits, '.', '_', '+' and '-' in the name of the extractor of {name}; "
            f"got {made.name!r}. Rename it."
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
    backend = f"{getattr(extractor, 'backend', 'plugin')}-{getattr(extractor, 'precision', 'own')}"
    return f"{extractor.name}-{extractor.fingerprint[:16]}-{backend}/{faces_key}"
