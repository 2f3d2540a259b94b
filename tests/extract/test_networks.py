import contextlib

import pytest
import timm
from torch import nn

from extract.errors import RequestError
from extract.networks import NETWORKS, find_network

MODELS = {
    "inception_v4": "inception_v4.tf_in1k",
    "convnext_base": "convnext_base.fb_in1k",
    "convnext_tiny": "convnext_tiny.fb_in1k",
    "deit_base": "deit_base_patch16_224.fb_in1k",
    "deit_small": "deit_small_patch16_224.fb_in1k",
    "mobilenetv2": "mobilenetv2_100.ra_in1k",
}


def test_the_registered_names():
    assert set(NETWORKS) == {*MODELS, "reactnet_a"}


@pytest.mark.parametrize("name", MODELS)
def test_a_name_means_the_imagenet_1k_weights(name):
    blueprint = find_network(name).blueprint
    assert (blueprint.name, blueprint.model, blueprint.hub) == (name, MODELS[name], f"timm/{MODELS[name]}")


@pytest.mark.parametrize("name", MODELS)
def test_the_input_is_normalised_as_the_weights_were_trained(name):
    config, network = timm.get_pretrained_cfg(MODELS[name]), find_network(name)
    assert (network.mean, network.std) == (config.mean, config.std)


def test_reactnet_is_normalised_as_imagenet_and_is_not_on_the_hub():
    network = find_network("reactnet_a")
    assert network.mean == (0.485, 0.456, 0.406)
    assert network.std == (0.229, 0.224, 0.225)
    assert network.blueprint.hub is None


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("timm:test_resnet", "test_resnet.r160_in1k"),
        ("timm:test_resnet.r160_in1k", "test_resnet.r160_in1k"),
        pytest.param(
            "timm:timm/test_resnet.r160_in1k",
            "test_resnet.r160_in1k",
        ),
        ("timm:convnext_base.fb_in22k_ft_in1k", "convnext_base.fb_in22k_ft_in1k"),
    ],
)
def test_any_timm_model_by_its_prefix(name, model):
    blueprint = find_network(name).blueprint
    assert (blueprint.name, blueprint.model, blueprint.hub) == (name, model, f"timm/{model}")


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_efficientnet", "timm:test_vit"])
def test_the_head_is_where_the_blueprint_says(name):
    blueprint = find_network(name, 160).blueprint
    network = blueprint.build()
    assert [key for key in network.state_dict() if key.startswith(blueprint.head)] == [
        f"{blueprint.head}weight",
        f"{blueprint.head}bias",
    ]
    network.reset_classifier(0)
    assert not [key for key in network.state_dict() if key.startswith(blueprint.head)]
    assert isinstance(network, nn.Module)


def test_a_misspelt_name_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match=r"got 'convnext_tinny'\. Did you mean 'convnext_tiny'\?"):
        find_network("convnext_tinny")


def test_a_misspelt_timm_model_is_refused_with_the_nearest():
    with pytest.raises(
        RequestError, match=r"Expected a known timm model; got 'test_resnt'\. .*'test_resnet'"
    ):
        find_network("timm:test_resnt")


def test_an_unknown_tag_is_refused_with_the_known_ones():
    with pytest.raises(
        RequestError, match=r"no weights tagged 'fb_in2k'\. Use one of: .*convnext_tiny\.fb_in1k"
    ):
        find_network("timm:convnext_tiny.fb_in2k")


@pytest.mark.parametrize("name", ["resnet50", "vit_base_patch16_224", "resnet50.a1_in1k"])
def test_a_timm_model_without_the_prefix_is_refused_with_the_corrected_call(name):
    with pytest.raises(RequestError, match=rf"got '{name}', a timm model\. Write 'timm:{name}'"):
        find_network(name)


@pytest.mark.parametrize("size", [224, 192])
def test_networks_of_fixed_input_are_built_for_the_size(size):
    network = find_network("timm:vit_tiny_patch16_224", size).blueprint.build()
    assert network.patch_embed.img_size == (size, size)


@pytest.mark.parametrize("name", ["timm:qwen3_vit_88m_enc", "timm:deepseek_vit_412m_enc"])
def test_a_timm_model_without_a_classifier_is_described_or_refused(name):
    if not timm.is_model(name.removeprefix("timm:")):
        pytest.skip("this timm has no such model")
    with contextlib.suppress(RequestError):
        assert find_network(name).blueprint.name == name
