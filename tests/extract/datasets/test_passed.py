import re
from pathlib import Path

import pytest

import extract.datasets
from extract.datasets.passed import NO_CLIPS, WORDS, passed_over


@pytest.mark.parametrize(
    ("codes", "line"),
    [
        (["E_LINK_LOOP"], "1 link back to a folder that it lies in"),
        (["E_FOLDER_NOT_READ"] * 2, "2 folders that cannot be read"),
        (
            ["E_FILE_KIND"] + ["E_LINK_BROKEN"] * 1200,
            "1,200 links to files that do not exist, 1 file that is",
        ),
    ],
)
def test_what_is_passed_over_is_counted_the_commonest_first(codes, line):
    (said,) = passed_over(codes)
    assert said.startswith(f"Passed over: {line}")
    (said,) = passed_over(codes, where="clips")
    assert said.startswith(f"Passed over in clips: {line}")


def test_where_nothing_is_passed_over_nothing_is_said():
    assert passed_over([]) == []


def test_there_are_words_for_all_that_data_sets_leave_out():
    (folder,) = extract.datasets.__path__
    source = "".join(path.read_text(encoding="utf-8") for path in Path(folder).glob("*.py"))
    assert set(re.findall(r'Reason\(\s*"(E_[A-Z_]+)"', source)) == set(WORDS) | {"E_FILE_MISSING"}
    assert "E_SOURCE_UNKNOWN" not in NO_CLIPS  # such a clip could be used
