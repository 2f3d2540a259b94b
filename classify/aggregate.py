"""From the scores of a clip's faces to the clip's score."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from classify.metrics import Floats
from extract.errors import unknown

COMBINERS: dict[str, Callable[[Floats], float]] = {
    "mean": lambda scores: float(np.mean(scores)),
    "median": lambda scores: float(np.median(scores)),
    "max": lambda scores: float(np.max(scores)),
}
LEVELS = ("image", "video")


def combiner(name: str) -> Callable[[Floats], float]:
    """Return what turns scores (k,) of a clip's faces, at least one, into one.

    Parameters
    ----------
    name : str
        ``mean``, ``median``, ``max``, or ``top3``: the mean of the three highest (any number; of all where there
        are fewer).

    Raises
    ------
    RequestError
        Another name.

    >>> combiner("top2")(np.array([1.0, 5.0, 3.0]))
    4.0
    """
    if name in COMBINERS:
        return COMBINERS[name]
    if top := re.fullmatch(r"top([1-9]\d*)", name):
        k = int(top[1])
        return lambda scores: float(np.mean(np.sort(scores)[-k:]))
    raise unknown("way to combine a clip's faces", name, [*COMBINERS, "top3"])


def at_level(table: pd.DataFrame, level: str, *, aggregate: str = "mean") -> pd.DataFrame:
    """Return one line a face (``image``), or one a clip with its faces' scores combined (``video``).

    Under a protocol that divides clips, the faces of a clip that one fold tests count as a clip of that fold.

    Parameters
    ----------
    table : DataFrame, one line a face
        ``clip``, ``fold``, ``score``, and columns that are the same for all faces of a clip.
    aggregate : str
        As `combiner` takes it.
    """
    if level == "image":
        return table.drop(columns=["content", "face"], errors="ignore").reset_index(drop=True)
    # pandas' own mean is much faster than a function of ours on thousands of clips.
    how = aggregate if aggregate in COMBINERS else lambda scores: combiner(aggregate)(scores.to_numpy())
    same = [c for c in table if c not in ("content", "face", "clip", "fold", "score")]
    clips = table.groupby(["clip", "fold"], sort=True, as_index=False)
    return clips.agg({**dict.fromkeys(same, "first"), "score": how})
