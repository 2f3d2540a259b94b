"""Comparisons of training sets on the same cached features: leakage, transfer, a new attack."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from classify.folds import identity_folds
from classify.groups import Ints
from classify.protocols import PROTOCOLS, Fold
from classify.trials import Plan, Task, Trial
from extract.errors import RequestError

Bools = npt.NDArray[np.bool_]
Settings = dict[str, str | int]

STEPS = ("frame", "clip", "target", "strict")  # from the leakiest protocol to the one without leakage
CLIPS = (0, 1, 5, 10, 50, 100)  # of the new attack in training
SEEDS_APART = 1000  # between repeats, so that their folds share no attempt


def leakage(rows: pd.DataFrame, *, n_splits: int, protocol: str, seed: int, repeats: int) -> Plan:
    """Compare protocols, so that the difference is leakage and nothing else.

    Every training set has the same number of real and of fake faces, drawn from the protocol's own; scores are
    compared on the faces of the clips that ``strict`` tests, which every protocol tests. Parameters are chosen
    in the same way inside each training set.

    Parameters
    ----------
    rows : DataFrame of n rows
        As for `identity_folds`.
    n_splits, seed : int
    protocol : str
        Without meaning here: `STEPS` are compared.
    repeats : int
        Times to do so, each with other folds and draws.

    Returns
    -------
    Plan
        Trials are told apart by ``protocol``, ``repeat`` and ``fold``; the one test set is ``common``.

    Raises
    ------
    RequestError
        A protocol refuses.
    """
    repeated = [
        {
            step: identity_folds(rows, n_splits=n_splits, protocol=step, seed=seed + SEEDS_APART * r)
            for step in STEPS
        }
        for r in range(repeats)
    ]
    tasks = [
        task for r, folds in enumerate(repeated) for task in _leakage_tasks(rows, folds, repeat=r, seed=seed)
    ]
    return Plan(tasks, repeated[0])


def transfer(rows: pd.DataFrame, *, n_splits: int, protocol: str, seed: int, repeats: int, by: str) -> Plan:
    """Train on some attacks or data sets, test on each one, identities disjoint throughout.

    Training is on all of them, on all but one, and on one alone. Attacks share the real clips; a data set brings
    its own.

    Parameters
    ----------
    by : {"attack", "dataset"}
    repeats : int
        Times to do so, each with other folds.

    Returns
    -------
    Plan
        Trials are told apart by ``trained_on``, ``repeat`` and ``fold``; the test sets are the attacks or data
        sets.

    Raises
    ------
    RequestError
        A protocol that does not keep identities apart; fewer than two attacks or data sets; a data set with one
        class only.
    """
    _check_disjoint(protocol)
    values = _values(rows, by)
    every = [
        identity_folds(rows, n_splits=n_splits, protocol=protocol, seed=seed + SEEDS_APART * r)
        for r in range(repeats)
    ]
    members = {value: _members(rows, by, [value]) for value in values}
    tasks = []
    for r, folds in enumerate(every):
        for k, fold in enumerate(folds):
            tests = {value: _among(fold.test, inside) for value, inside in members.items()}
            tests = {value: test for value, test in tests.items() if len(test)}
            for name, kept in training_sets(values).items():
                train = _among(fold.train, _members(rows, by, kept))
                if tests and len(set(rows["label"].to_numpy()[train])) == 2:
                    settings: Settings = {"trained_on": name, "repeat": r, "fold": k}
                    tasks.append(Task(train, [Trial(settings, train, tests)]))
    return Plan(tasks, {protocol: every[0]})


def new_attack(
    rows: pd.DataFrame,
    *,
    n_splits: int,
    protocol: str,
    seed: int,
    repeats: int,
    attacks: Sequence[str] = (),
) -> Plan:
    """Hold one attack out, then add k of its clips, of identities that are not tested, to training.

    Parameters are chosen once for each fold, without the new attack; the k clips of a draw contain those of its
    smaller k. Values of k that a fold's training part cannot fill are left out there, and so are folds without
    other fakes to train on.

    Parameters
    ----------
    attacks : sequence of str, optional
        The attacks that take the part of the new one, in turn; all without it.
    repeats : int
        Draws in each fold.

    Returns
    -------
    Plan
        Trials are told apart by ``attack``, ``fold``, ``clips`` (k) and ``draw``; the one test set is
        ``attack``: the new attack's test clips and the real ones.

    Raises
    ------
    RequestError
        A protocol that does not keep identities apart; fewer than two attacks; an attack that is not there.
    """
    _check_disjoint(protocol)
    known = _values(rows, "attack")
    for attack in attacks:
        if attack not in known:
            raise RequestError(
                f"Expected an attack among {', '.join(known)}; got {attack!r}. Correct --attack.",
                code="E_NAME_UNKNOWN",
            )
    folds = identity_folds(rows, n_splits=n_splits, protocol=protocol, seed=seed)
    tasks = [
        _new_attack_task(rows, fold, attack=attack, k=k, draws=repeats, seed=seed)
        for attack in dict.fromkeys(attacks or known)
        for k, fold in enumerate(folds)
    ]
    trained = [task for task in tasks if len(set(rows["label"].to_numpy()[task.choose_on])) == 2]
    if not trained:
        raise RequestError(
            "Expected real clips and fakes of another attack in the training part of a fold; got none. Use fewer "
            "folds or add clips.",
            code="E_CLASS_MISSING",
        )
    return Plan(trained, {protocol: folds})


def training_sets(values: Sequence[str]) -> dict[str, list[str]]:
    """Name the training sets over some attacks or data sets: all, all but one, one alone.

    >>> training_sets(["a", "b"])
    {'all': ['a', 'b'], 'only a': ['a'], 'only b': ['b']}
    """
    but = {f"all but {value}": [v for v in values if v != value] for value in values}
    return {
        "all": list(values),
        **(but if len(values) > 2 else {}),  # of two, all but one is the other alone
        **{f"only {value}": [value] for value in values},
    }


def _leakage_tasks(rows: pd.DataFrame, folds: dict[str, list[Fold]], *, repeat: int, seed: int) -> list[Task]:
    y = rows["label"].to_numpy()
    common = np.concatenate([fold.test for fold in folds["strict"]])
    sizes = [np.bincount(y[fold.train], minlength=2) for step in STEPS for fold in folds[step]]
    reals, fakes = np.min(sizes, axis=0)
    tasks = []
    for number, step in enumerate(STEPS):
        for k, fold in enumerate(folds[step]):
            rng = np.random.default_rng([seed, repeat, number, k])
            chosen = [
                rng.choice(fold.train[y[fold.train] == label], count, replace=False)
                for label, count in ((0, reals), (1, fakes))
            ]
            train, test = np.sort(np.concatenate(chosen)), np.intersect1d(fold.test, common)
            if len(test):
                settings: Settings = {"protocol": step, "repeat": repeat, "fold": k}
                tasks.append(Task(train, [Trial(settings, train, {"common": test})]))
    return tasks


def _new_attack_task(rows: pd.DataFrame, fold: Fold, *, attack: str, k: int, draws: int, seed: int) -> Task:
    new, clips = (rows["attack"] == attack).to_numpy(), rows["clip"].to_numpy()
    base = fold.train[~new[fold.train]]
    pool = np.unique(clips[fold.train[new[fold.train]]])
    tests = {"attack": _among(fold.test, new | (rows["label"] == 0).to_numpy())}
    trials = []
    for draw in range(draws):
        order = np.random.default_rng([seed, k, draw]).permutation(pool)
        for count in CLIPS if draw == 0 else CLIPS[1:]:
            if count <= len(pool):
                added = fold.train[np.isin(clips[fold.train], order[:count]) & new[fold.train]]
                settings: Settings = {"attack": attack, "fold": k, "clips": count, "draw": draw}
                trials.append(Trial(settings, np.union1d(base, added), tests))
    return Task(base, trials)


def _check_disjoint(protocol: str) -> None:
    if not PROTOCOLS[protocol].disjoint:
        good = [name for name in PROTOCOLS if PROTOCOLS[name].disjoint]
        raise RequestError(
            f"Expected a protocol that keeps identities apart ({', '.join(good)}); got {protocol}. "
            "Choose one with --protocol.",
            code="E_PROTOCOL",
        )


def _values(rows: pd.DataFrame, by: str) -> list[str]:
    of = rows[rows["label"] == 1] if by == "attack" else rows
    values = sorted(set(of[by]) - {""})
    if len(values) < 2:
        raise RequestError(
            f"Expected at least two different values in column {by}{' of the fakes' if by == 'attack' else ''}; got "
            f"{', '.join(values) or 'none'}. Name them in the manifest.",
            code="E_VALUES_FEW",
        )
    if by == "dataset":
        for value in values:
            if rows["label"][rows["dataset"] == value].nunique() < 2:
                raise RequestError(
                    f"Expected real and fake clips in every data set; {value} has one class only. Leave it out.",
                    code="E_CLASS_MISSING",
                )
    return values


def _members(rows: pd.DataFrame, by: str, values: Sequence[str]) -> Bools:
    """Say which rows belong to the attacks (with all real rows) or to the data sets: (n,) bool."""
    inside = rows[by].isin(list(values))
    return np.asarray((inside & (rows["label"] == 1)) | (rows["label"] == 0) if by == "attack" else inside)


def _among(rows: Ints, inside: Bools) -> Ints:
    return rows[inside[rows]]
