"""Clips without a usable face, counted by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reports.responses import ALL, non_responses, rate_of

FILES = pd.DataFrame(
    [
        ("own", "a", 0, "", 1),
        ("own", "a", 0, "", 0),  # another file of the clip gave a face
        ("own", "b", 0, "", 0),
        ("own", "b", 0, "", 0),
        ("own", "c", 1, "swap", 2),
        ("own", "d", 1, "swap", 0),
        ("own", "e", 1, "blend", 3),
        ("own", "f", 1, "", 0),  # of an attack that nobody named
        ("external", "a", 0, "", 0),  # another clip of this name
        ("external", "g", 1, "swap", 1),
        ("noise-20", "c", 1, "swap", 0),
    ],
    columns=["data", "clip", "label", "attack", "faces"],
)


@pytest.fixture
def counted(make_run):
    return non_responses(replace(make_run(), files=FILES))


def line(table, data, label, attack):
    found = table.query("data == @data and label == @label and attack == @attack")
    assert len(found) == 1
    return found[["clips", "without", "rate"]].iloc[0].tolist()


def test_clips_are_counted_not_files(counted):
    assert line(counted, "own", 0, ALL) == [2, 1, 0.5]


def test_fakes_are_counted_by_attack_and_together(counted):
    assert line(counted, "own", 1, "swap") == [2, 1, 0.5]
    assert line(counted, "own", 1, "blend") == [1, 0, 0.0]
    assert line(counted, "own", 1, "") == [1, 1, 1.0]
    assert line(counted, "own", 1, ALL) == [4, 2, 0.5]


def test_every_data_is_counted_for_itself(counted):
    assert line(counted, "external", 0, ALL) == [1, 1, 1.0]
    assert line(counted, "external", 1, ALL) == [1, 0, 0.0]
    assert line(counted, "noise-20", 1, "swap") == [1, 1, 1.0]
    assert not counted.duplicated(["data", "label", "attack"]).any()


@pytest.mark.parametrize("data", ["out-of-fold", "validation", "test"])
def test_the_rows_of_a_unit_were_taken_from_the_own_clips(data, counted):
    assert rate_of(counted, data, label=0) == rate_of(counted, data, label=1) == 0.5
    assert rate_of(counted, data, label=1, attack="blend") == 0


def test_external_and_perturbed_rows_have_rates_of_their_own(counted):
    assert rate_of(counted, "external", label=0) == 1
    assert rate_of(counted, "noise-20", label=1) == 1


def test_a_rate_of_nothing_is_not_known(counted):
    assert np.isnan(rate_of(counted, "noise-20", label=0))
    assert np.isnan(rate_of(counted, "own", label=1, attack="reenactment"))
    assert np.isnan(rate_of(counted[counted["data"] == "own"], "external", label=0))
