import pytest

from extract import memory
from extract.memory import available_memory


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Write what the system says about its memory, and its container's."""
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)

    def write(available=None, limit=None, used="0", files="0"):
        if available is not None:
            (tmp_path / "meminfo").write_text(
                f"MemTotal: 99 kB\nMemAvailable:   {available} kB\nHugePages: 0\n"
            )
        if limit is not None:
            (tmp_path / "memory.max").write_text(f"{limit}\n")
            (tmp_path / "memory.current").write_text(f"{used}\n")
            (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {files}\n")

    return write


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [(None, "0", 51200), ("max", "7", 51200), ("4000", "1000", 3000), ("4000", "5000", 0)],
)
def test_the_least_of_machine_and_container_counts(system, limit, used, expected):
    system(50, limit, used)
    assert available_memory() == expected


def test_files_that_a_container_would_drop_do_not_count(system):
    system(50, "4000", "3900", "3000")
    assert available_memory() == 3100


def test_elsewhere_it_is_half_of_all(system, monkeypatch):
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PHYS_PAGES": 100, "SC_PAGE_SIZE": 4096}.get)
    system()
    assert available_memory() == 50 * 4096


def test_this_machine_has_some():
    assert available_memory() > 2**20
