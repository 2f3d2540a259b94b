"""What a run uses and how it speaks, none of which changes its results."""

from collections.abc import Callable
from dataclasses import dataclass

from extract.cluster import Cluster
from extract.progress import Track, no_progress
from extract.store import Store
from extract.workers import Workers

Say = Callable[[str], None]


def silent(line: str) -> None:
    """Say nothing; the default wherever a `Say` is taken."""


@dataclass(frozen=True)
class Machine:
    """The caches, the numbers of processes, and the two ways to the user.

    Attributes
    ----------
    store : Store
    n_jobs : int
        Processes of this machine that fit and judge.
    face_workers, feature_workers : int or Cluster
        Processes that find faces and that compute features.
    cluster : Cluster, optional
        Whose workers search in place of processes of this machine.
    track : Track
        Progress of long stages.
    say : callable
        Takes single lines for the user.
    """

    store: Store
    n_jobs: int = 1
    face_workers: Workers = 1
    feature_workers: Workers = 1
    cluster: Cluster | None = None
    track: Track = no_progress
    say: Say = silent
