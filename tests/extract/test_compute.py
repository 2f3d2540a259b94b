import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from extract import compute
from extract.compute import ComputeSettings, UnavailableError, as_recorded, choose
from extract.errors import RequestError

ROOT = Path(__file__).resolve().parents[2]
EVERY_HALF = frozenset({"bf16", "fp16"})
NATIVE = {"cuda": ["bf16", "fp16"], "openvino": ["bf16"]}  # of the machine that `machine` pretends


@pytest.fixture
def machine(monkeypatch):
    """Pretend a machine; without words one with OpenVINO and bfloat16."""

    def pretend(*, gpu=False, openvino=True, native=NATIVE, capabilities=("FP32", "BF16")):
        monkeypatch.setattr(compute, "_has_gpu", lambda: gpu)
        monkeypatch.setattr(compute, "has_openvino", lambda: openvino)
        monkeypatch.setattr(compute, "_native_halves", lambda backend: native.get(backend, []))
        monkeypatch.setattr(compute, "_openvino_capabilities", lambda: capabilities)

    pretend()
    return pretend


def chosen(backend="auto", precision="auto", *, half=EVERY_HALF, binary=False):
    return choose(ComputeSettings(backend, precision), name="mine", half=half, binary=binary)


# -- backends ------------------------------------------------------------------------------------------------

AUTO = {  # GPU, OpenVINO, binary -> backend
    (False, True, False): "openvino",
    (False, False, False): "torch",
    (False, True, True): "packed",
    (False, False, True): "packed",
    **{(True, *rest): "cuda" for rest in itertools.product([False, True], repeat=2)},
}


@pytest.mark.parametrize(("has", "expected"), AUTO.items(), ids=str)
def test_auto_takes_the_fastest_backend_that_is_there(machine, has, expected):
    gpu, openvino, binary = has
    machine(gpu=gpu, openvino=openvino)
    assert chosen(binary=binary)[0] == expected


@pytest.mark.parametrize("backend", ["openvino", "torch", "cuda"])
@pytest.mark.parametrize("binary", [False, True])
def test_a_backend_that_is_asked_for_is_taken_where_it_is(machine, backend, binary):
    machine(gpu=True)
    assert chosen(backend, "fp32", binary=binary) == (backend, "fp32")


ABSENT = {
    "cuda": r"Expected a GPU that torch can use \(backend cuda\); there is none\. Use backend auto\.",
    "openvino": r"Expected OpenVINO \(backend openvino\); it is not installed\. pip install openvino\.",
}


@pytest.mark.parametrize(("backend", "message"), ABSENT.items(), ids=ABSENT)
@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_a_backend_that_is_not_there_is_refused(machine, backend, message, precision):
    machine(openvino=False)
    with pytest.raises(UnavailableError, match=message):
        chosen(backend, precision)


# -- precisions ----------------------------------------------------------------------------------------------

HALVES = [None, frozenset(), frozenset({"bf16"}), frozenset({"fp16"}), EVERY_HALF]
BACKENDS = ["openvino", "torch", "cuda", "packed"]
NATIVES = [[], ["bf16"], ["fp16"], ["bf16", "fp16"]]


def named(value):
    """Name a set as every process does: its order changes from one to the next."""
    return str(sorted(value)) if isinstance(value, frozenset) else str(value)


def ask(machine, backend, precision, *, half, native=("bf16",), capabilities=("FP32", "BF16")):
    """Ask for a precision where `backend` is what is chosen."""
    machine(gpu=backend == "cuda", native={backend: list(native)}, capabilities=capabilities)
    asked = "auto" if backend == "packed" else backend
    return chosen(asked, precision, half=half, binary=backend == "packed")


@pytest.mark.parametrize("native", NATIVES, ids=str)
@pytest.mark.parametrize("half", HALVES, ids=named)
@pytest.mark.parametrize("backend", BACKENDS)
def test_auto_takes_a_half_that_is_native_and_known_to_keep_the_features(machine, backend, half, native):
    both = [precision for precision in native if precision in (half or ())]
    assert ask(machine, backend, "auto", half=half, native=native) == (backend, both[0] if both else "fp32")


@pytest.mark.parametrize("half", HALVES, ids=named)
@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_is_never_refused(machine, backend, half):
    assert ask(machine, backend, "fp32", half=half) == (backend, "fp32")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("half", HALVES, ids=named)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_half_is_taken_or_refused_for_the_first_reason(machine, backend, half, precision):
    spoils = half is not None and precision not in half
    reasons = {
        "in which mine keeps its features": spoils,
        "Expected fp32 for packed bits": backend == "packed",
        "that this machine computes": backend in ("openvino", "cuda") and precision == "fp16",
    }
    reason = next((words for words, holds in reasons.items() if holds), None)
    if reason is None:
        assert ask(machine, backend, precision, half=half) == (backend, precision)
        return
    with pytest.raises(RequestError, match=rf"{reason}.*; got {precision}\. Use .*auto") as caught:
        ask(machine, backend, precision, half=half)
    assert isinstance(caught.value, UnavailableError) == ("machine" in reason)


@pytest.mark.parametrize(
    ("half", "instead"), [(frozenset(), "fp32"), (frozenset({"fp16"}), "fp16 or fp32")], ids=named
)
def test_a_half_that_spoils_the_features_is_refused_with_those_that_do_not(machine, half, instead):
    with pytest.raises(RequestError, match=rf"got bf16\. Use {instead}, or auto, which chooses\.") as caught:
        ask(machine, "openvino", "bf16", half=half)
    assert not isinstance(caught.value, UnavailableError)  # no other machine would do it


def test_what_openvino_prefers_here_is_what_it_can(monkeypatch):
    preferred = compute._openvino_default()
    assert preferred in {"fp32", "bf16", "fp16"}
    assert preferred == "fp32" or preferred.upper() in compute._openvino_capabilities()
    assert compute._native_halves("openvino") == [preferred] * (preferred != "fp32")


@pytest.mark.parametrize("backend", ["torch", "packed"])
def test_no_half_is_native_to_other_backends(backend):
    assert compute._native_halves(backend) == []


@pytest.mark.parametrize(("native", "halves"), [(True, ["bf16", "fp16"]), (False, ["fp16"])])
def test_a_gpu_without_bfloat16_takes_float16(monkeypatch, native, halves):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: native)
    assert compute._native_halves("cuda") == halves


# -- what was chosen is asked for again ----------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("backend", ["openvino", "torch", "cuda"])
def test_what_was_chosen_is_chosen_again(machine, backend, precision):
    machine(gpu=True, capabilities=("FP32", "BF16", "FP16"))
    again = as_recorded(backend, precision)
    assert again == ComputeSettings(backend, precision)
    assert choose(again, name="mine", half=EVERY_HALF, binary=False) == (backend, precision)


def test_packed_bits_are_chosen_again(machine):
    again = as_recorded("packed", "fp32")
    assert choose(again, name="mine", half=frozenset(), binary=True) == ("packed", "fp32")


@pytest.mark.parametrize("recorded", [("plugin", "own"), ("their own", "int8"), ("", "")], ids=str)
def test_what_a_plugin_says_of_itself_asks_for_nothing(recorded):
    assert as_recorded(*recorded) == ComputeSettings()


# -- what importing does -------------------------------------------------------------------------------------


def in_a_process_of_its_own(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_imports_neither_torch_nor_openvino():
    in_a_process_of_its_own("""
        import sys
        import extract.compute
        assert not {"torch", "openvino"} & set(sys.modules), sorted(sys.modules)
    """)


def test_openvino_is_imported_without_its_telemetry(tmp_path):
    in_a_process_of_its_own(
        """
        import sys
        from extract.compute import import_openvino
        openvino = import_openvino()
        from openvino.tools.ovc import convert_model
        loaded = [name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module]
        assert loaded == [], loaded
        assert openvino.Core().available_devices
        """,
        HOME=str(tmp_path),
        XDG_CONFIG_HOME=str(tmp_path),
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert list(tmp_path.rglob("*")) == []


def test_openvino_counts_as_there_without_being_imported():
    in_a_process_of_its_own("""
        import sys
        from extract.compute import has_openvino
        assert has_openvino()
        assert "openvino" not in sys.modules
    """)
