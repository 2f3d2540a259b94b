"""A frozen network with its normalisation as an ONNX model; needs the extra ``onnx``."""

import warnings

import torch

from extract.errors import RequestError, first_line
from extract.extractors import FrozenNetwork

EXAMPLES = 2  # faces to trace with: of a single one torch.export would conclude that there is always one


def input_side(extractor: FrozenNetwork) -> int:
    """Return the side of the faces that an exported network takes: at it nothing is left to be resized.

    The network's input size, and with a `crop_fraction` that size divided by it: the cut is in the graph.
    """
    return round(extractor.settings.size / extractor.settings.crop_fraction)


def network_to_onnx(extractor: FrozenNetwork) -> bytes:
    """Export ``faces`` (n, s, s, 3) uint8 RGB -> ``features`` (n, dim) float32, s = `input_side`.

    The graph divides by 255, cuts the middle where `crop_fraction` asks for it, normalises and runs the network.
    It does not resize: ONNX's bicubic antialiasing is not torch's.

    torch's exporter by `torch.export` is used. The older one, by TorchScript, gives the same numbers in a tenth of
    the time, but is deprecated, and writes the path of one example where a network decides by what it sees.

    Raises
    ------
    RequestError
        torch.onnx cannot export the network.
    """
    side = input_side(extractor)
    faces = torch.zeros((EXAMPLES, side, side, 3), dtype=torch.uint8)
    try:
        with warnings.catch_warnings(), torch.inference_mode(mode=False):
            warnings.simplefilter("ignore")  # of torch's own parts about each other
            program = torch.onnx.export(
                extractor.prepared,
                (faces,),
                input_names=["faces"],
                output_names=["features"],
                dynamic_shapes={"faces": {0: "n"}},
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        return bytes(program.model_proto.SerializeToString())
    except (RuntimeError, ValueError) as error:  # torch.onnx's own; protobuf's for models of 2 GiB and more
        raise RequestError(
            f"Expected a network that torch.onnx exports; got {extractor.name} "
            f"({first_line(error.__cause__ or error)}). "
            "Leave out --onnx-extractor, or use the detector from Python.",
            code="E_EXPORT",
        ) from error
