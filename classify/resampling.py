"""Draw people again, not rows: bootstrap weights of people, and what a set of scores is worth under them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array

from classify.groups import Ints
from classify.metrics import Floats, Labels

KINDS = ("two-way", "target", "rows")
COLUMNS = ["clip", "identity", "source_identity", "label"]
LEFT_OUT = 1000  # most groups of the jackknife: past that, its cost would pass the bootstrap's

Weights = npt.NDArray[Any]  # (B, G) of numbers: B replicates, G cells
