"""Names as text: nothing a terminal obeys survives, and the way back leads to the same file."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.names import as_text, file_of, find_file, printable, stem_of

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
names = st.binary(max_size=40).filter(lambda name: b"\0" not in name)
tricky = st.lists(st.sampled_from([b"\\", b"x", b"5c", b"ff", b"\xff", b"\x1b", b"\n", b"a"])).map(b"".join)


@given(st.text(st.characters()) | names.map(os.fsdecode))
def test_no_control_character_survives(text):
    shown = printable(text)
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
    assert not set(shown) & set(BIDI)
    assert shown.encode() or not text
    assert printable(shown) == shown


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])))
def test_ordinary_text_stays(text):
    assert printable(text) == text


@pytest.mark.parametrize("text", ["", "ä b", "👩‍🔬", "a\\b", "[red]", "100 %", "C:\\xy", "é"])
def test_what_stays(text):
    assert printable(text) == text
    assert as_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\x0ab"),
        ("a\r\tb", "a\\x0d\\x09b"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\xc2\\x9b31m"),
        ("\x7f", "\\x7f"),
        ("\u2028", "\\xe2\\x80\\xa8"),
        ("\u202egpj.exe", "\\xe2\\x80\\xaegpj.exe"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\xed\\xa0\\x80"),
    ],
)
def test_what_is_escaped(text, shown):
    assert printable(text) == shown


@given(names | tricky)
def test_the_way_back_leads_to_the_same_file(name):
    path = os.fsdecode(name)
    text = as_text(path)
    assert as_text(file_of(text)) == as_text(Path(path))
    assert file_of(text) == Path(path)


@given(tricky, tricky)
def test_two_names_are_two_texts(one, other):
    assert (as_text(os.fsdecode(one)) == as_text(os.fsdecode(other))) == (one == other)


@given(names)
def test_a_stem_begins_a_file_s_name(name):
    stem = stem_of(os.fsdecode(name), limit=20)
    assert len(stem.encode()) <= 20
    assert "\\" not in stem
    assert stem.isprintable() or printable(stem) == stem


def test_a_file_is_found_by_its_text_or_plainly(tmp_path):
    odd, plain = tmp_path / os.fsdecode(b"a\xff"), tmp_path / "a\\xff"
    plain.touch()
    assert find_file(tmp_path, "a\\xff") == plain
    odd.touch()
    assert find_file(tmp_path, "a\\xff") == odd
    assert find_file(tmp_path, as_text("a\\xff")) == plain
    assert find_file(tmp_path, odd) == odd
    assert find_file(tmp_path, "b\\xff") == tmp_path / os.fsdecode(b"b\xff")
