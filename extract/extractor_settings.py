"""What a suite says of an extractor; without torch, so that finished results are read in a moment."""

from typing import Literal

import pydantic


def is_plugin_file(name: str) -> bool:
    """Whether an extractor's name is the path of a plugin, as opposed to a registered name."""
    return name.partition(":")[0].endswith(".py")


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class ExtractorSettings:
    """One extractor of a suite.

    Attributes
    ----------
    name : str
        A registered name, ``timm:<any model>``, or ``path/to/plugin.py`` (``:function`` may follow).
    tap : {"pooled", "logits"}
        Features before the 1000-way layer, or its output.
    size : int
        Side of the network's input, pixels.
    crop_fraction : float
        Share of the face that is seen: below 1 the borders, where a swapped face was blended in, are cut off.
    weights : {"found", "random"}
        ``random`` runs the untrained network whatever weights there are, as a control beside the trained one.
    """

    name: str
    tap: Literal["pooled", "logits"] = "pooled"
    size: int = pydantic.Field(default=224, ge=16)
    crop_fraction: float = pydantic.Field(default=1.0, gt=0, le=1)
    weights: Literal["found", "random"] = "found"

    @property
    def variant(self) -> list[str]:
        """What differs from the defaults in the features: the tap, the input size, the crop."""
        words = ["logits"] if self.tap == "logits" else []
        words += [f"{self.size}px"] if self.size != 224 else []
        return words + ([f"crop{self.crop_fraction:g}"] if self.crop_fraction != 1 else [])

    @property
    def label(self) -> str:
        """Name in folders and figures: the name, and what differs from the defaults."""
        base = self.name.rpartition("/")[2] if is_plugin_file(self.name) else self.name
        control = ["random"] if self.weights == "random" else []
        return "-".join([base, *self.variant, *control]).replace("/", "_").replace(":", "_")
