"""Damaged and hostile detectors: refused in one line each, without a crash and without running anything.

Three kinds of mutation:

- damage: bytes change and no digest is made anew. Every one that changes a byte is refused.
- attacks: bytes that no export writes, and every digest is made anew. Every one is refused.
- forgeries: random changes, and every digest is made anew. Some are still well-formed detectors, which nothing inside
  the folder can tell from an export (another threshold, a weight in its last bits, the text of the card): they are
  refused, or they load and do nothing but score. With the digest demanded every one is refused.
"""

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import skops.io

from benchmarks.detector import Detector
from benchmarks.detector_export import export_detector
from benchmarks.detector_files import MAIN, file_digest, to_bytes
from benchmarks.machine import Machine
from benchmarks.runner import run
from extract.errors import RequestError
from extract.extractors import ExtractorSettings, load_extractor
from extract.store import Store
from extract.weights import WeightSettings

MORE = "[classifiers.svc]\nC = [1.0]\n[classifiers.xgboost]\nn_estimators = [3]\nmax_depth = [2]\n"


@pytest.fixture(scope="module")
def originals(tmp_path_factory, write_suite):
    """Return classifier -> contents of a calibrated detector's files, and the extractor to load them with."""
    home = tmp_path_factory.mktemp("fuzz")
    suite = write_suite(home, sections=MORE)
    machine = Machine(Store(home / "cache"))
    results = run(suite, machine=machine, out=home / "out")
    choice = {"extractor": "pixels", "rule": "eer", "level": "image", "calibration": "platt"}
    found = {}
    for classifier in suite.classifiers:
        out = home / classifier
        export_detector(results, classifier=classifier, out=out, machine=machine, **choice)
        paths = [path for path in out.rglob("*") if path.is_file()]
        found[classifier] = {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}
    settings = ExtractorSettings(name=suite.extractors[0].name)
    return found, load_extractor(settings, weights=WeightSettings())


@pytest.fixture
def load(originals, tmp_path):
    """Write contents into a folder of their own and load them."""
    _, extractor = originals
    count = iter(range(10_000))

    def call(contents, **options):
        folder = tmp_path / f"detector-{next(count)}"
        for name, data in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return Detector.load(folder, extractor=extractor, **options)

    return call


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """Return a path that payloads create; it must not exist in the end."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


def refused(load, contents, **options):
    with pytest.raises(RequestError) as caught:
        load(contents, **options)
    assert str(caught.value).startswith("Expected")
    assert "\n" not in str(caught.value)


def resealed(contents, **changes):
    """Make every digest anew, as whoever can write the folder can; changes are to detector.json."""
    values = {**json.loads(contents[MAIN]), **changes}
    if "files" not in changes:
        values["files"] = {n: file_digest(data) for n, data in sorted(contents.items()) if n != MAIN}
    return {**contents, MAIN: to_bytes(values)}


class Payload:
    """Creates the canary when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch canary",)


PICKLE = pickle.dumps(Payload())


def test_the_payload_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(PICKLE)
    assert (tmp_path / "canary").exists()


def test_the_originals_load(originals, load, canary):
    for contents in originals[0].values():
        load(contents, digest=file_digest(contents[MAIN]))
        load(resealed(contents), digest=file_digest(contents[MAIN]))


# -- damage and forgeries ----------------------------------------------------------------------------------------


def flip(data, rng):
    place, bit = rng.integers(len(data)), rng.integers(8)
    return data[:place] + bytes([data[place] ^ (1 << int(bit))]) + data[place + 1 :]


def overwrite(data, rng):
    place, length = int(rng.integers(len(data))), int(rng.integers(1, 64))
    return data[:place] + rng.bytes(length) + data[place + length :]


BYTES = {
    "flip": flip,
    "overwrite": overwrite,
    "truncate": lambda data, rng: data[: rng.integers(len(data))],
    "append": lambda data, rng: data + rng.bytes(int(rng.integers(1, 100))),
    "cut out": lambda data, rng: data[: len(data) // 3] + data[len(data) // 2 :],
    "empty": lambda data, rng: b"",
    "pickle": lambda data, rng: PICKLE,
}


def edit_value(values, rng):
    """Change one value somewhere in JSON."""
    place, key = values, "threshold"
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key, parent = keys[int(rng.integers(len(keys)))], place
        place = place[key]
    strange = [None, -1, 10**400, 1e308, "", "../../x", [], {}, True, "os.system", {"a": [1]}, 0.5, 10**12]
    parent[key] = strange[int(rng.integers(len(strange)))]
    return values


def edit_json(data, rng):
    return (json.dumps(edit_value(json.loads(data), rng), indent=1, ensure_ascii=False) + "\n").encode()


def edit_model(data, rng):
    """Change a value or an array inside a model's file, which stays a whole archive with the right sums."""
    if data[:1] == b"{":
        return json.dumps(edit_value(json.loads(data), rng)).encode()
    schema, members = parts_of(data)
    if rng.random() < 0.5:
        return archive(edit_value(schema, rng), members)
    kinds, which = list(BYTES.values()), int(rng.integers(len(members)))
    change = kinds[int(rng.integers(len(kinds)))]
    return archive(schema, [(n, change(d, rng) if k == which else d) for k, (n, d) in enumerate(members)])


def mutate(contents, rng):
    """Return the contents with one change at random."""
    names = sorted(contents)
    one, other = (names[int(rng.integers(len(names)))] for _ in range(2))
    kinds = [*BYTES, "flip", "flip", "swap", "lose", "add", "edit", "edit", *["model"] * 6]
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind in BYTES:
        return {**contents, one: BYTES[kind](contents[one], rng)}
    if kind == "swap":
        return {**contents, one: contents[other], other: contents[one]}
    if kind == "lose":
        return {name: data for name, data in contents.items() if name != one}
    if kind == "add":
        return {**contents, f"models/fold-{rng.integers(9)}.pkl": PICKLE}
    if kind == "model":
        name = min(name for name in names if name.startswith("models/"))
        return {**contents, name: edit_model(contents[name], rng)}
    return {**contents, MAIN: edit_json(contents[MAIN], rng)}


def check(seed, originals, load):
    """Load one mutation as damage and as a forgery."""
    rng = np.random.default_rng([99, seed])
    found, _ = originals
    original = found[list(found)[seed % len(found)]]
    contents = mutate(original, rng)
    if contents != original:
        refused(load, contents)
    demanded = file_digest(original[MAIN])
    try:
        forged = resealed(contents)
    except (KeyError, ValueError, TypeError, RecursionError):
        return  # detector.json itself is no JSON any more: there is nothing to make anew
    if forged != original:
        refused(load, forged, digest=demanded)
    with contextlib.suppress(RequestError):
        (prediction,) = load(forged).predict([np.zeros((32, 32, 3), np.uint8)])
        assert np.isfinite(prediction.score)


@pytest.mark.parametrize("hundred", range(5))
def test_mutations_are_refused(originals, load, canary, hundred):
    for seed in range(100 * hundred, 100 * hundred + 100):
        check(seed, originals, load)


# -- attacks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classifier", ["logistic_regression", "svc", "random_forest", "xgboost"])
def test_a_pickle_in_the_place_of_any_file_is_refused(originals, load, canary, classifier):
    contents = originals[0][classifier]
    for name in contents:
        changed = {**contents, name: PICKLE}
        refused(load, changed)
        if name not in (MAIN, "card.md"):  # the card is text that nothing reads
            refused(load, resealed(changed))


def archive(schema, members=(), *, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, data in members:
            file.writestr(name, data)
        file.writestr("schema.json", json.dumps(schema))
    return stream.getvalue()


def node(loader, module, name, **more):
    return {"__class__": name, "__module__": module, "__loader__": loader, **more}


def text(value):
    return node("JsonNode", "builtins", "str", content=json.dumps(value), is_json=True)


def several(*parts, loader="TupleNode", name="tuple"):
    return node(loader, "builtins", name, content=list(parts))


TOUCH = several(text("touch canary"))
OPEN = several(text("canary"), text("w"))
EMPTY = node("DictNode", "builtins", "dict", content={}, key_types=several(loader="ListNode", name="list"))
HOSTILE = {
    "os.system": node("FunctionNode", "os", "system"),
    "eval as a type": node("TypeNode", "builtins", "eval"),
    "an object made by reduce": node("ConstructorFromReduceNode", "subprocess", "Popen", content=TOUCH),
    "open by reduce": node("ConstructorFromReduceNode", "builtins", "open", content=OPEN),
    "an operator": node(
        "OperatorFuncNode", "operator", "methodcaller", attrs=several(text("system"), text("x"))
    ),
    "attrgetter": node("OperatorFuncNode", "operator", "attrgetter", attrs=several(text("__class__"))),
    "a method": node("MethodNode", "builtins", "str", content={"func": "format", "obj": text("x")}),
    "a partial": node(
        "PartialNode",
        "functools",
        "partial",
        content={
            "func": node("FunctionNode", "os", "system"),
            "args": TOUCH,
            "kwds": EMPTY,
            "namespace": EMPTY,
        },
    ),
    "an estimator that skops trusts": node("ObjectNode", "sklearn.pipeline", "Pipeline", content=EMPTY),
    "a module by name": node("ObjectNode", "antigravity", "x", content=EMPTY),
    "a loader under another type": node("FunctionNode", "numpy", "ndarray"),
    "a type under another loader": node("JsonNode", "os", "system", content='"touch canary"'),
    "a node without a loader": {"__class__": "system", "__module__": "os"},
    "an old loader": node("LossNode", "os", "system", content=EMPTY, __reduce__={"args": TOUCH}),
    "an unknown loader": node("NoNode", "os", "system"),
    "a tree of os.system": node("TreeNode", "os", "system", content=EMPTY, __reduce__={"args": TOUCH}),
}


def with_model(contents, data):
    (name,) = [n for n in contents if n.startswith("models/fold-0.")]
    return resealed({**contents, name: data})


def parts_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = [(name, file.read(name)) for name in file.namelist() if name != "schema.json"]
        return json.loads(file.read("schema.json")), members


@pytest.mark.parametrize("classifier", ["logistic_regression", "svc", "random_forest"])
@pytest.mark.parametrize("attack", list(HOSTILE))
def test_types_that_are_not_listed_are_refused(originals, load, canary, classifier, attack):
    contents = originals[0][classifier]
    schema, members = parts_of(contents["models/fold-0.skops"])
    alone = {**HOSTILE[attack], "protocol": schema["protocol"], "_skops_version": "0.16"}
    refused(load, with_model(contents, archive(alone, members)))
    schema["content"]["content"]["decision_function"] = HOSTILE[attack]
    schema["content"]["content"]["predict_proba"] = HOSTILE[attack]
    schema["content"]["key_types"]["content"] += [node("TypeNode", "builtins", "str")] * 2
    refused(load, with_model(contents, archive(schema, members)))


def test_a_crafted_type_would_be_found_by_no_list_of_skops_alone():
    """The list is ours: some of these skops trusts by itself."""
    schema = {**HOSTILE["an estimator that skops trusts"], "protocol": 2, "_skops_version": "0.16"}
    assert skops.io.get_untrusted_types(data=archive(schema)) == []


def test_older_protocols_are_refused(originals, load, canary):
    contents = originals[0]["svc"]
    schema, members = parts_of(contents["models/fold-0.skops"])
    for protocol in (0, 1, 99, None, "2", True):
        refused(load, with_model(contents, archive({**schema, "protocol": protocol}, members)))


def test_archives_that_grow_are_refused(originals, load, canary):
    contents = originals[0]["svc"]
    schema, members = parts_of(contents["models/fold-0.skops"])
    bomb = [*members, ("bomb.npy", bytes(200 * 2**20))]
    refused(load, with_model(contents, archive(schema, bomb, compression=zipfile.ZIP_DEFLATED)))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = archive(schema, [*members, *members])
    refused(load, with_model(contents, twice))
    refused(load, with_model(contents, archive(schema)))  # no arrays at all
    refused(load, with_model(contents, b"PK\x05\x06" + bytes(18)))


def header(shape, descr="<f8", order="False"):
    text = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


HEADERS = [
    header("(1000000000000,)"),
    header("(-1, -6)"),
    header("(0, 99999999999999999999)"),
    header("(1, 6)", "|O"),
    header("(1, 6)", "|V999999999"),
    header("(1, 6)", "<f8", "None"),
    header("__import__('os').system('touch canary')"),
    b"\x93NUMPY\x03\x00" + b"\xff" * 8,
    b"\x93NUMPY\x01\x00\xff\xff",
]


@pytest.mark.parametrize("which", range(len(HEADERS)))
@pytest.mark.parametrize("classifier", ["svc", "random_forest"])
def test_absurd_arrays_are_refused(originals, load, canary, classifier, which):
    contents = originals[0][classifier]
    schema, members = parts_of(contents["models/fold-0.skops"])
    for number in {0, len(members) // 2, len(members) - 1}:
        changed = [(n, HEADERS[which] + PICKLE if k == number else d) for k, (n, d) in enumerate(members)]
        refused(load, with_model(contents, archive(schema, changed)))
    for name in ("reference/features.npy", "reference/scores.npy"):
        refused(load, resealed({**contents, name: HEADERS[which] + bytes(96)}))


def changed_arrays(data, change):
    """Change every array of a skops file for which `change` gives another."""
    schema, members = parts_of(data)
    made = []
    for name, part in members:
        array = np.load(io.BytesIO(part))
        stream = io.BytesIO()
        np.save(stream, change(array.copy()))
        made.append((name, stream.getvalue()))
    return archive(schema, made)


def loop(nodes):
    if nodes.dtype.names:
        nodes["left_child"][0] = nodes["right_child"][0] = 0
    return nodes


def far(nodes):
    if nodes.dtype.names:
        nodes["right_child"][0] = 10**9
    return nodes


def behind(nodes):
    if nodes.dtype.names:
        nodes["feature"][0] = 10**9
    return nodes


def short(array):
    return array[: len(array) // 2] if array.dtype.names else array


def longer(array):
    return array + 10**6 if array.dtype == np.int32 else array


def shorter_vectors(array):
    return array[:, :2].copy() if array.ndim == 2 and array.shape[1] == 6 else array


def as_text(array):
    return array.astype("U8") if not array.dtype.names else array


@pytest.mark.parametrize("change", [loop, far, behind, short, as_text])
def test_trees_that_compiled_code_would_stumble_over_are_refused(originals, load, canary, change):
    contents = originals[0]["random_forest"]
    refused(load, with_model(contents, changed_arrays(contents["models/fold-0.skops"], change)))


@pytest.mark.parametrize("change", [longer, shorter_vectors, as_text])
def test_support_vectors_that_do_not_fit_are_refused(originals, load, canary, change):
    contents = originals[0]["svc"]
    refused(load, with_model(contents, changed_arrays(contents["models/fold-0.skops"], change)))


@pytest.mark.parametrize(("key", "value"), [("node_count", 1), ("max_depth", "x"), ("n_outputs", 10**9)])
def test_trees_that_lie_about_their_size_are_refused(originals, load, canary, key, value):
    contents = originals[0]["random_forest"]
    schema, members = parts_of(contents["models/fold-0.skops"])
    trees = [n for n in walk(schema) if n.get("__loader__") == "TreeNode"]
    assert trees
    for tree in trees:
        if key == "n_outputs":
            tree["__reduce__"]["args"]["content"][2] = text(value)
        else:
            tree["content"]["content"][key] = text(value)
    refused(load, with_model(contents, archive(schema, members)))


def test_parts_that_hide_behind_the_number_of_others_are_refused(originals, load, canary):
    contents = originals[0]["random_forest"]
    schema, members = parts_of(contents["models/fold-0.skops"])
    tree = next(n for n in walk(schema) if n.get("__loader__") == "TreeNode")
    schema["content"]["content"]["ccp_alpha"] = text(10**9) | {"__id__": 10**6}
    tree["__reduce__"]["args"]["content"][2] = text(1) | {"__id__": 10**6}
    refused(load, with_model(contents, archive(schema, members)))


def walk(value):
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(part)


def trees_of(values):
    return values["learner"]["gradient_booster"]["model"]["trees"]


def set_path(*path, value):
    def change(values):
        place = values
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


MODEL = ("learner", "gradient_booster", "model")
BOOSTED = {
    "a loop": set_path(*MODEL, "trees", 0, "left_children", 0, value=0),
    "a far child": set_path(*MODEL, "trees", 0, "right_children", 0, value=10**9),
    "a negative child": set_path(*MODEL, "trees", 0, "right_children", 0, value=-7),
    "a far feature": set_path(*MODEL, "trees", 0, "split_indices", 0, value=10**9),
    "a category": set_path(*MODEL, "trees", 0, "split_type", 0, value=1),
    "another objective": set_path("learner", "objective", value={"name": "multi:softprob"}),
    "another booster": set_path("learner", "gradient_booster", "name", value="gblinear"),
    "many classes": set_path("learner", "learner_model_param", "num_class", value="1000000"),
    "many features": set_path("learner", "learner_model_param", "num_feature", value="7"),
    "attributes": set_path("learner", "attributes", value={"scikit_learn": "{}"}),
    "fewer numbers": set_path(*MODEL, "trees", 0, "split_conditions", value=[0.0]),
    "no number": set_path(*MODEL, "trees", 0, "split_conditions", 0, value=float("nan")),
    "a text": set_path(*MODEL, "trees", 0, "base_weights", 0, value="1"),
    "no trees": set_path(*MODEL, "trees", value=[]),
    "trees that are none": set_path(*MODEL, "trees", value=[1, 2, 3]),
    "an early end": set_path(*MODEL, "iteration_indptr", value=[0, 1, 2, 900]),
    "a base score": set_path("learner", "learner_model_param", "base_score", value="[nan]"),
    "one more key": set_path("learner", "more", value=1),
}


@pytest.mark.parametrize("attack", list(BOOSTED))
def test_boosted_trees_that_are_none_are_refused(originals, load, canary, attack):
    contents = originals[0]["xgboost"]
    values = json.loads(contents["models/fold-0.json"])
    BOOSTED[attack](values)
    refused(load, with_model(contents, json.dumps(values).encode()))


# -- detector.json by attackers -----------------------------------------------------------------------------------

EDITS = {
    "no number": set_path("threshold", value="NaN"),
    "no format": set_path("format", value=2),
    "another level": set_path("level", value="clip"),
    "another aggregate": set_path("aggregate", value="worst"),
    "one more key": set_path("more", value=1),
    "plugin elsewhere": set_path("extractor", "fingerprint", value="x"),
    "many features": set_path("extractor", "dim", value=7),
    "absurd features": set_path("extractor", "dim", value=10**15),
    "another classifier": set_path("classifier", "name", value="svc"),
    "no classifier": set_path("classifier", "name", value="os.system"),
    "other parameters": set_path("classifier", "parameters", value={"C": 123.0}),
    "strange parameters": set_path("classifier", "parameters", value={"verbose": 1}),
    "no models": set_path("classifier", "models", value=0),
    "more models": set_path("classifier", "models", value=4),
    "absurd models": set_path("classifier", "models", value=10**15),
    "absurd faces": set_path("faces", "size", value=10**6),
    "other faces": set_path("faces", "size", value=33),
    "absurd frames": set_path("faces", "max_pixels", value=10**15),
    "two ways to choose frames": set_path("faces", value={"stride": 2, "every": "1s"}),
    "no revision": set_path("decoding", value=-1),
    "a revision that is none": set_path("decoding", value="4"),
    "no face detector": set_path("faces", "detector", value="os.system"),
    "absurd inputs": set_path("extractor", "settings", "size", value=10**6),
    "a calibration that is none": set_path("calibration", value={"method": "os.system"}),
    "a calibration of nothing": set_path("calibration", value={}),
    "deep": set_path("calibration", value={"a": [[[[[[[[]]]]]]]]}),
    "a path": set_path("files", value={"../../../etc/passwd": "0" * 64}),
    "no files": set_path("files", value={}),
}


@pytest.mark.parametrize("edit", list(EDITS))
def test_settings_that_no_export_writes_are_refused(originals, load, canary, edit):
    contents = originals[0]["logistic_regression"]
    values = json.loads(contents[MAIN])
    EDITS[edit](values)
    refused(load, {**contents, MAIN: to_bytes(values)})


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", '"0.5"', "null", "[" * 100_000])
def test_thresholds_that_are_no_number_are_refused(originals, load, canary, word):
    contents = originals[0]["logistic_regression"]
    values = json.loads(contents[MAIN])
    written = to_bytes({**values, "threshold": "HERE"}).replace(b'"HERE"', word.encode())
    refused(load, {**contents, MAIN: written})


def test_links_and_folders_in_the_place_of_files_are_refused(originals, load, canary, tmp_path):
    contents = originals[0]["logistic_regression"]
    folder = tmp_path / "linked"
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (tmp_path / "card").write_bytes(contents["card.md"])
    (folder / "card.md").unlink()
    (folder / "card.md").symlink_to(tmp_path / "card")
    with pytest.raises(RequestError, match=r"card.md, which is not a plain file"):
        Detector.load(folder)
    (folder / "card.md").unlink()
    (folder / "card.md").mkdir()
    with pytest.raises(RequestError, match=r"no file card.md"):
        Detector.load(folder)


def test_well_formed_changes_are_what_the_demanded_digest_is_for(originals, load, canary):
    contents = originals[0]["logistic_regression"]
    digest = file_digest(contents[MAIN])
    for changes in ({"threshold": 123.0}, {"rule": "f1"}, {"level": "video"}, {"calibration": None}):
        forged = resealed(contents, **changes)
        assert load(forged).digest != digest
        refused(load, forged, digest=digest)
    forged = resealed({**contents, "card.md": b"A very good detector."})
    load(forged)
    refused(load, forged, digest=digest)
