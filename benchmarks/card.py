"""A detector's model card: what it is, what it was measured on, what its threshold costs, and what it cannot do."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from classify.models import CLASSIFIERS
from classify.protocols import PROTOCOLS

SHOWN = ("auc", "recall", "precision", "f1", "accuracy")
LEVELS = {"image": "single faces", "video": "clips, by the mean of their faces' scores"}


def write_card(values: Mapping[str, Any]) -> str:
    """Write the card of a detector as Markdown.

    Parameters
    ----------
    values : mapping
        The contents of detector.json, see `benchmarks.detector_files.Record`.
    """
    parts = [
        f"# Deepfake detector: {values['extractor']['title']} with {CLASSIFIERS[values['classifier']['name']].title}",
        *_warnings(values),
        _what(values),
        "## Data",
        _data(values["data"]),
        "## Figures",
        _figures(values),
        "## Threshold",
        _threshold(values),
        "## Use",
        USE,
        "## Limits",
        _limits(values),
    ]
    return "\n\n".join(parts) + "\n"


def _warnings(values: Mapping[str, Any]) -> list[str]:
    warnings = []
    if values["extractor"]["weights"] == "random":
        warnings.append(
            "> **RANDOM WEIGHTS.** The network is untrained: this detector shows that the program works."
        )
    if PROTOCOLS[values["data"]["protocol"]].leaky:
        warnings.append(
            f"> **LEAKY PROTOCOL.** Under protocol {values['data']['protocol']} the same people were trained and "
            "tested on: the figures and the threshold promise too much."
        )
    if values["classifier"]["refit"]:
        warnings.append(
            "> **APPROXIMATE THRESHOLD.** One model was refitted on all data; the threshold was chosen on the fold "
            "models' scores, and the figures are theirs."
        )
    return warnings


def _what(values: Mapping[str, Any]) -> str:
    extractor, classifier = values["extractor"], values["classifier"]
    count = classifier["models"]
    models = "one model" if count == 1 else f"the mean of {count} models, one a fold"
    given = ", ".join(f"{name} = {value}" for name, value in classifier["parameters"].items())
    return (
        f"Faces are found by `{values['faces']['detector']}`, turned into {extractor['dim']} features by the frozen "
        f"network {extractor['title']} ({extractor['weights']} weights: {extractor['source']}), and scored by "
        f"{CLASSIFIERS[classifier['name']].title} ({given or 'its defaults'}; {models}). Higher scores are more "
        "likely fake. It was made by the suite "
        f"`{values['name']}` with deepfake-transfer-bench {values['versions']['deepfake-transfer-bench']}."
    )


def _data(data: Mapping[str, Any]) -> str:
    counts = data["counts"]
    lines = [
        f"- {counts['faces']:,} faces ({counts['fake_faces']:,} fake) of {counts['clips']:,} clips "
        f"({counts['fake_clips']:,} fake) were tested; {counts['identities']:,} identities are named.",
        f"- Protocol `{data['protocol']}`: {PROTOCOLS[data['protocol']].apart}.",
        "- Fakes by attack (clips): "
        + ", ".join(f"{name} {n:,}" for name, n in data["attacks"].items())
        + ".",
    ]
    return "\n".join(lines)


def _figures(values: Mapping[str, Any]) -> str:
    """Tabulate mean and range over folds for each part of the data; %."""
    table = pd.DataFrame(values["metrics"])
    if table.empty:
        return "None: the data were judged as one part, without this rule."
    shown = [name for name in SHOWN if name in table]
    lines = [f"| {' | '.join(['%', *shown])} |", "|" + " --- |" * (len(shown) + 1)]
    for data, part in table.groupby("data", sort=False):
        lines.append(f"| {' | '.join([str(data), *(_cell(part[name]) for name in shown)])} |")
    where = LEVELS[values["level"]]
    return (
        f"At the level of {where}; each fold with the threshold chosen on the others. Mean (range over folds).\n\n"
        + "\n".join(lines)
    )


def _cell(values: "pd.Series[Any]") -> str:
    shares = 100 * values.to_numpy(float)
    spread = f" ({np.min(shares):.1f} to {np.max(shares):.1f})" if len(shares) > 1 else ""
    return f"{np.mean(shares):.1f}{spread}"


def _threshold(values: Mapping[str, Any]) -> str:
    text = (
        f"A score at or above **{values['threshold']:.6g}** is called fake. It was chosen by the rule "
        f"`{values['rule']}` on all out-of-fold scores of {LEVELS[values['level']]}."
    )
    table = pd.DataFrame(values["metrics"])
    if not table.empty:
        first = table[table["data"] == table["data"].iloc[0]]
        missed = 100 * (1 - first["recall"].mean())
        wrong = 100 * (1 - first["precision"].mean())
        text += f" Expect it to miss {missed:.0f} % of the fakes of these data; {wrong:.0f} % of its alarms were wrong."
    if values["calibration"]:
        text += " Probabilities are calibrated on the same scores; they hold where fakes are as frequent as there."
    return text


USE = """```
deepfake-transfer-bench predict DETECTOR clip.mp4 photo.jpg --digest DIGEST
```

```python
from benchmarks.detector import Detector

detector = Detector.load("DETECTOR", digest="DIGEST")
for prediction in detector.predict(["clip.mp4", "photo.jpg"]):
    print(prediction.name, prediction.verdict, prediction.score)
```

The digest is printed when the detector is exported, and is the SHA-256 of detector.json, which holds those of all other
files. A digest inside the folder protects against damage; against strangers only one that came another way does."""


def _limits(values: Mapping[str, Any]) -> str:
    lines = [
        "- It knows the attacks above. A new kind of attack can pass unseen: measure it first (`compare new-attack`).",
        "- Other cameras, compression or people than in the data shift scores, and with them what the threshold costs.",
        "- A file without a face gets no verdict.",
    ]
    if values["level"] == "image":
        lines.append(
            "- The threshold is for single faces; for a clip, the mean of its faces is compared with it."
        )
    return "\n".join(lines)
