"""Every code that the source gives is documented, and every documented one is given."""

import pickle
import re
from pathlib import Path

import pytest

from extract.compute import UnavailableError
from extract.errors import CodedError, RequestError, UnreadableClip, first_line
from extract.manifest import Reason
from extract.pipeline import NoFaces

ROOT = Path(__file__).resolve().parents[1]
CODE = re.compile(r"\bE_[A-Z_]+\b")


def in_source():
    files = [ROOT / "run_benchmark.py"]
    for part in ("extract", "classify", "benchmarks", "reports"):
        files += (ROOT / part).rglob("*.py")
    return {code for file in files for code in CODE.findall(file.read_text(encoding="utf-8"))}


def test_the_table_of_codes_is_that_of_the_source():
    rows = re.findall(r"^\| `(E_[A-Z_]+)` \|", (ROOT / "docs" / "errors.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == in_source()


def kinds(kind):
    return [kind, *(inner for below in kind.__subclasses__() for inner in kinds(below))]


def test_every_kind_of_error_has_a_code_of_its_own():
    codes = [kind.default_code for kind in kinds(CodedError) if kind is not CodedError]
    assert len(codes) == len(set(codes))
    assert {kind.default_code for kind in (NoFaces, UnavailableError)} == {"E_NO_FACES", "E_UNAVAILABLE"}


@pytest.mark.parametrize("kind", [RequestError, UnreadableClip, NoFaces, UnavailableError])
def test_a_code_stands_behind_the_message_and_survives_another_process(kind):
    error = kind("Wrong.", code="E_TEST")
    again = pickle.loads(pickle.dumps(error))
    for one in (error, again):
        assert (str(one), one.message, one.code) == ("Wrong. [E_TEST]", "Wrong.", "E_TEST")
        assert Reason.of(one) == Reason("E_TEST", "Wrong.")
    assert kind("Wrong.").code == kind.default_code
    assert first_line(error) == "Wrong."
