"""The networks that extractors are made of, by name: ours, and any of timm's."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import timm

from extract.errors import RequestError, unknown
from extract.reactnet import ReActNetA
from extract.registry import Registry
from extract.weights import Blueprint

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Network:
    """A registered network.

    Attributes
    ----------
    blueprint : Blueprint
    title : str
        In tables.
    code : str
        Release of the code that computes it, part of the fingerprint: raise it when the code changes.
    mean, std : tuple of float
        What its input is normalised with.
    half : frozenset of {"bf16", "fp16"}, optional
        Half precisions in which features keep a cosine similarity of 0.999 to float32; None: not measured.
    any_batch : bool
        Whether a face's features in OpenVINO are known to be the same bits in batches of all sizes.
    binary : bool
        Whether its convolutions have binary weights and inputs.
    """

    blueprint: Blueprint
    title: str
    code: str = "1"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    half: frozenset[str] | None = None
    any_batch: bool = False
    binary: bool = False


NETWORKS: Registry[Callable[[int], Network]] = Registry("extractor")


def timm_network(model: str, size: int = 224, *, name: str, title: str) -> Network:
    """Describe a timm model, with the head, at an input of `size` pixels.

    Raises
    ------
    RequestError
        timm has no such model or no such tag.
    """
    model = model.removeprefix("timm/")
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        raise unknown("timm model", architecture, timm.list_models())
    config = timm.get_pretrained_cfg(model, allow_unregistered=False) if _has_tag(architecture, tag) else None
    if config is None:
        near = difflib.get_close_matches(model, timm.list_pretrained(f"{architecture}.*"), n=5, cutoff=0)
        raise RequestError(
            f"Expected a timm model; {architecture} has no weights tagged {tag!r}. Use one of: {', '.join(near)}.",
            code="E_NAME_UNKNOWN",
        )
    if not config.classifier:
        raise RequestError(
            f"Expected a timm model with a classifier; {architecture} has none. Use another model.",
            code="E_EXTRACTOR",
        )
    options: dict[str, Any] = (
        {"img_size": size} if config.fixed_input_size and size != config.input_size[-1] else {}
    )
    full = f"{architecture}.{config.tag}" if config.tag else architecture
    return Network(
        Blueprint(
            name=name,
            model=full,
            build=lambda: timm.create_model(architecture, pretrained=False, **options),
            head=f"{_first(config.classifier)}.",
            hub=config.hf_hub_id
            and (config.hf_hub_id + full if config.hf_hub_id.endswith("/") else config.hf_hub_id),
            load_hub=lambda path: timm.create_model(
                full, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **options
            ),
        ),
        title=title,
        code=f"timm {timm.__version__}",
        mean=config.mean,
        std=config.std,
    )


def _has_tag(architecture: str, tag: str) -> bool:
    return not tag or f"{architecture}.{tag}" in timm.list_pretrained(f"{architecture}.*")


def _first(classifier: Any) -> str:
    return str(classifier if isinstance(classifier, str) else classifier[0])


def _register_timm(name: str, model: str, title: str, half: Sequence[str] = ("bf16", "fp16")) -> None:
    def describe(size: int) -> Network:
        known = timm_network(model, size, name=name, title=title)
        return replace(known, half=frozenset(half), any_batch=True)

    NETWORKS.add(name, describe)


_register_timm("inception_v4", "inception_v4.tf_in1k", "Inception-v4")
_register_timm("convnext_base", "convnext_base.fb_in1k", "ConvNeXt-B")
_register_timm("convnext_tiny", "convnext_tiny.fb_in1k", "ConvNeXt-T")
_register_timm("deit_base", "deit_base_patch16_224.fb_in1k", "DeiT-B")
_register_timm("deit_small", "deit_small_patch16_224.fb_in1k", "DeiT-S")
# Its narrow layers leave bfloat16 no room: cosine similarities of 0.995 with ImageNet weights.
_register_timm("mobilenetv2", "mobilenetv2_100.ra_in1k", "MobileNetV2", half=["fp16"])


@NETWORKS.register("reactnet_a")
def reactnet_a(size: int) -> Network:
    """ReActNet-A, binary weights and activations; the published checkpoint is read from --weights."""
    blueprint = Blueprint("reactnet_a", "reactnet_a", ReActNetA, head="fc.")
    # Rounding moves inputs to the other side of a sign: no half precision keeps the features.
    return Network(blueprint, "ReActNet-A", code="2", half=frozenset(), binary=True)


def find_network(name: str, size: int = 224) -> Network:
    """Look a network up by registered name or ``timm:<model>``; `RequestError` with the nearest name."""
    if name.startswith("timm:"):
        model = name.removeprefix("timm:")
        return timm_network(model, size, name=name, title=model)
    if name not in NETWORKS and timm.is_model(name):
        raise RequestError(
            f"Expected a known extractor; got {name!r}, a timm model. Write 'timm:{name}'.",
            code="E_NAME_UNKNOWN",
        )
    return NETWORKS[name](size)
