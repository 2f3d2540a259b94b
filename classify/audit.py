"""What the two sides of every fold share, counted on the rows themselves, whatever the protocol promised."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from classify.folds import shared_people
from classify.groups import people_of
from classify.protocols import PEOPLE, PROTOCOLS, Fold

NEAR = 0.1  # share of differing bits up to which two faces count as near-duplicates
BLOCK = 4096  # rows of either side compared at a time: 4096 x 4096 agreements are 67 MB


def audit_folds(
    rows: pd.DataFrame,
    folds: Mapping[str, Sequence[Fold]],
    *,
    bits: npt.NDArray[np.float32] | None = None,
) -> pd.DataFrame:
    """Count what lies on both sides of each fold of each protocol.

    Parameters
    ----------
    rows : DataFrame of n rows
        ``clip``, ``label``, ``identity``, ``source_identity``.
    folds : mapping of protocol to its folds
    bits : (n, b) float32, optional
        A perceptual hash of each face, of zeros and ones.

    Returns
    -------
    DataFrame, one line a fold
        ``protocol``; ``fold`` (from 1); ``train_faces``, ``train_real_clips``, ``train_fake_clips``,
        ``train_prevalence`` (share of fakes among the clips), ``train_identities`` (people shown),
        ``train_people`` (shown or put in), the same for ``test``; ``sat_out_clips`` (on neither side);
        ``shared_clips``, ``shared_identities`` (people shown on both sides), ``shared_people`` (shown or put in
        on both sides); ``sources`` (test fakes whose source is known), ``sources_in_training`` (those of them
        whose source is seen in training, shown or put in); ``near_duplicates`` (test faces that have one in
        training, see `near_duplicates`; NaN without hashes).
    """
    return pd.DataFrame(
        [
            {"protocol": protocol, "fold": number, **_audit(rows, fold, bits)}
            for protocol, several in folds.items()
            for number, fold in enumerate(several, start=1)
        ]
    )


def near_duplicates(
    test: npt.NDArray[np.float32], train: npt.NDArray[np.float32], *, near: float = NEAR
) -> npt.NDArray[np.bool_]:
    """Say which test faces have a near-duplicate in training: at most a share `near` of differing bits.

    Parameters
    ----------
    test, train : (m, b), (n, b) float32
        Zeros and ones.

    Returns
    -------
    (m,) bool
    """
    # b - 2 * (Hamming distance) is the product of the hashes written with +1 and -1.
    least = test.shape[1] * (1 - 2 * near)
    found = np.zeros(len(test), bool)
    for i in range(0, len(test), BLOCK):
        here = 2 * test[i : i + BLOCK] - 1
        for j in range(0, len(train), BLOCK):
            there = 2 * train[j : j + BLOCK].T - 1
            found[i : i + BLOCK] |= (here @ there).max(axis=1) >= least
    return found


def _audit(rows: pd.DataFrame, fold: Fold, bits: npt.NDArray[np.float32] | None) -> dict[str, float]:
    train, test = rows.iloc[fold.train], rows.iloc[fold.test]
    clips = {side: set(part["clip"]) for side, part in (("train", train), ("test", test))}
    near = np.nan if bits is None else int(near_duplicates(bits[fold.test], bits[fold.train]).sum())
    return {
        **_side("train", train),
        **_side("test", test),
        "sat_out_clips": len(set(rows["clip"]) - clips["train"] - clips["test"]),
        "shared_clips": len(clips["train"] & clips["test"]),
        "shared_identities": len(shared_people(rows, fold, ["identity"])),
        "shared_people": len(shared_people(rows, fold, PEOPLE)),
        **_sources(train, test),
        "near_duplicates": near,
    }


def _side(name: str, part: pd.DataFrame) -> dict[str, float]:
    clips = part.drop_duplicates("clip")
    fakes = int(clips["label"].sum())
    return {
        f"{name}_faces": len(part),
        f"{name}_real_clips": len(clips) - fakes,
        f"{name}_fake_clips": fakes,
        f"{name}_prevalence": fakes / len(clips),
        f"{name}_identities": len(people_of(clips, ["identity"])),
        f"{name}_people": len(people_of(clips, PEOPLE)),
    }


def _sources(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, int]:
    """Count test fakes by whether the face that was put in is known from training: it is the face one sees."""
    clips = test.drop_duplicates("clip")
    known = clips[(clips["label"] == 1) & (clips["source_identity"] != "")]
    seen = known["source_identity"].isin(people_of(train, PEOPLE))
    return {"sources": len(known), "sources_in_training": int(seen.sum())}


def describe_audit(audit: pd.DataFrame) -> list[str]:
    """Write an audit as lines for a terminal: what each protocol promised, then what was found."""
    parts = audit.groupby("protocol", sort=False)
    return [line for protocol, part in parts for line in _describe(part, str(protocol))]


def _describe(audit: pd.DataFrame, protocol: str) -> list[str]:
    kind = PROTOCOLS[protocol]
    head = f"Protocol {protocol}{', LEAKY' if kind.leaky else ''}: {kind.apart}."
    table = pd.DataFrame(
        {title: [write(line) for _, line in audit.iterrows()] for title, write in COLUMNS.items()}
    )
    return [head, *table.to_string(index=False, justify="right").splitlines()]


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole and not np.isnan(part) else "-"


def _of(part: float, whole: float) -> str:
    return f"{part:,.0f} of {whole:,.0f}"


def _sides(line: "pd.Series[float]", side: str) -> str:
    reals, fakes = line[f"{side}_real_clips"], line[f"{side}_fake_clips"]
    return f"{reals:,.0f} + {fakes:,.0f} ({100 * line[f'{side}_prevalence']:.0f} %)"


# Heading -> how a line of the audit is written under it.
COLUMNS: dict[str, Callable[["pd.Series[float]"], str]] = {
    "fold": lambda line: f"{line['fold']:.0f}",
    "train real+fake": lambda line: _sides(line, "train"),
    "test real+fake": lambda line: _sides(line, "test"),
    "sat out": lambda line: f"{line['sat_out_clips']:,.0f}",
    "shared clips": lambda line: f"{line['shared_clips']:,.0f}",
    "shared identities": lambda line: _of(line["shared_identities"], line["test_identities"]),
    "shared people": lambda line: _of(line["shared_people"], line["test_people"]),
    "shared sources": lambda line: _share(line["sources_in_training"], line["sources"]),
    "near-duplicates": lambda line: _share(line["near_duplicates"], line["test_faces"]),
}
