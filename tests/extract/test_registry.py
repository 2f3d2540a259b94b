import pytest

from extract.errors import RequestError, unknown
from extract.registry import Registry


@pytest.fixture
def colours():
    registry = Registry("colour")
    registry.add("red", "#f00")
    registry.add("green", "#0f0")
    return registry


def test_a_registered_name_is_found(colours):
    assert colours["red"] == "#f00"
    assert "red" in colours
    assert "blue" not in colours
    assert list(colours) == ["red", "green"]


def test_a_taken_name_is_refused_and_the_first_entry_stays(colours):
    with pytest.raises(ValueError, match=r"Expected a new colour; got 'red', which is already registered"):
        colours.add("red", "#e00")
    assert colours["red"] == "#f00"


def test_a_decorated_class_is_found_and_unchanged(colours):
    class Blue: ...

    assert colours.register("blue")(Blue) is Blue
    assert colours["blue"] is Blue


def test_a_name_cannot_be_registered_twice_by_decoration(colours):
    with pytest.raises(ValueError, match="already registered"):
        colours.register("red")(object())


def test_a_misspelt_name_is_refused_with_the_nearest(colours):
    with pytest.raises(RequestError, match=r"Expected a known colour; got 'gren'\. Did you mean 'green'\?"):
        colours["gren"]


def test_a_name_near_to_none_is_refused_with_all(colours):
    with pytest.raises(RequestError, match=r"Choose one of: green, red\."):
        colours["xyzzy"]


def test_a_wrong_request_is_a_value_error():
    assert isinstance(unknown("colour", "x", []), ValueError)
