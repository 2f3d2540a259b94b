"""Who is in which rows, and which rows hang together through them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = npt.NDArray[np.int64]


def people_of(rows: pd.DataFrame, columns: Sequence[str]) -> set[str]:
    """Return everybody named in any of the columns of identities; an empty name is nobody."""
    return {str(name) for column in columns for name in rows[column].unique()} - {""}


def groups_of(rows: pd.DataFrame, columns: Sequence[str]) -> Ints:
    """Number the groups of rows that clips and people tie together.

    Parameters
    ----------
    rows : DataFrame of n rows
        ``clip`` and the columns.
    columns : sequence of str
        Columns of identities. None: each clip is a group. ``identity``: rows of one identity belong together,
        too. Also ``source_identity``: identities that a fake joins, as target and source, belong together, and
        so on: connected components of the graph of identities (Hopcroft and Tarjan 1973, from SciPy). An empty
        identity ties nothing.

    Returns
    -------
    (n,) int64
    """
    clips = pd.Series("clip " + rows["clip"]).to_numpy()
    nodes = [clips]
    for column in columns:
        names = rows[column].to_numpy()
        nodes.append(np.where(names == "", clips, np.char.add("person ", names.astype(str))))
    codes, _ = pd.factorize(np.concatenate(nodes))
    row_nodes = codes.reshape(len(nodes), -1)
    here, there = np.tile(row_nodes[0], len(nodes) - 1), row_nodes[1:].ravel()
    size = int(codes.max()) + 1
    graph = coo_array((np.ones(len(here)), (here, there)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return np.asarray(component[row_nodes[0]], np.int64)


def group_sizes(rows: pd.DataFrame, groups: Ints, columns: Sequence[str]) -> Ints:
    """Count the people of each group, largest first: (k,) int64. Groups of nobody are left out."""
    named = pd.concat([pd.DataFrame({"group": groups, "name": rows[c].to_numpy()}) for c in columns])
    named = named[named["name"] != ""]
    return np.sort(named.groupby("group")["name"].nunique().to_numpy(np.int64))[::-1]
