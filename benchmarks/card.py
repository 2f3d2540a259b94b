"""A detector's model card: what it is, what it was measured on, what its threshold costs, and what it cannot do."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.judge import DEFAULT
from classify.metrics import METRICS
from classify.models import CLASSIFIERS
from classify.protocols import PROTOCOLS

SHOWN = ("recall", "precision", "f1", "accuracy", "apcer", "bpcer")
LEVELS = {"image": "single faces", "video": "clips, by the {aggregate} of their faces' scores"}


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


def _where(values: Mapping[str, Any]) -> str:
    return LEVELS[values["level"]].format(aggregate=values["aggregate"])


def _figures(values: Mapping[str, Any]) -> str:
    """Tabulate the figures at the threshold for each part of the data; %."""
    table = pd.DataFrame(values["metrics"])
    if table.empty:
        return "None: the data were judged as one part, without this rule."
    lines = [
        f"| % | {' | '.join(METRICS[name].title for name in SHOWN)} |",
        "|" + " --- |" * (len(SHOWN) + 1),
    ]
    for data, part in table.groupby("data", sort=False):
        figures = part.set_index("metric")
        lines.append(f"| {' | '.join([str(data), *(_cell(name, figures.loc[name]) for name in SHOWN)])} |")
    return (
        f"At the level of {_where(values)}. Out-of-fold figures are cross-fitted: each fold with the threshold chosen "
        "on the others. In parentheses 95 % intervals (bootstrap over people); each role rests on at least "
        f"{int(table['people'].min())} people. APCER, BPCER in the words of ISO/IEC 30107-3, no conformance test.\n\n"
        + "\n".join(lines)
    )


def _cell(name: str, line: "pd.Series[Any]") -> str:
    values = (line[column] for column in ("estimate", "low", "high"))
    estimate, low, high = (METRICS[name].show(np.nan if v is None else v, digits=1) for v in values)
    return f"{estimate} ({low}, {high})"


def _threshold(values: Mapping[str, Any]) -> str:
    low, high = values["threshold_low"], values["threshold_high"]
    interval = "" if low is None else f" (95 % interval {low:.4g} to {high:.4g})"
    chosen = (
        "It is the classifier's own, for"
        if values["rule"] == DEFAULT
        else f"It was chosen by the rule `{values['rule']}` on all scores that no model had seen, of"
    )
    text = f"A score at or above **{values['threshold']:.6g}**{interval} is called fake. {chosen} {_where(values)}."
    table = pd.DataFrame(values["metrics"], columns=["data", "metric", "estimate"]).astype(
        {"estimate": float}
    )
    known = table.pivot_table(index="data", columns="metric", values="estimate", sort=False)
    known = known.reindex(columns=["recall", "bpcer"]).dropna()
    if len(known):
        text += (
            f" Expect it to miss {100 * (1 - known['recall'].iloc[0]):.0f} % of the fakes and to reject "
            f"{100 * known['bpcer'].iloc[0]:.0f} % of the genuine ones, where data are like these "
            f"({known.index[0]})."
        )
    else:
        text += " It could not be judged: in some folds the other folds cannot meet the rule."
    if values["calibration"]:
        prior = values["prior"] or values["calibration"]["prior"]
        text += f" Probabilities are calibrated on the same scores, for {100 * prior:.3g} % fakes."
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
            f"- The threshold is for single faces; for a clip, the {values['aggregate']} of its faces is compared."
        )
    return "\n".join(lines)
