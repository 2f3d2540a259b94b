"""ReActNet on the processor with packed bits."""

import numpy as np
import numpy.typing as npt
import torch

from extract.media.frames import Image
from extract.packed_reactnet import PackedReActNet
from extract.prepared import FacesToFeatures
from extract.reactnet import ReActNetA


class PackedBackend:
    """Computes faces -> features with packed bits, in float32 between them.

    Parameters
    ----------
    prepared : FacesToFeatures
        Around a `ReActNetA`.
    threads : int
    """

    def __init__(self, prepared: FacesToFeatures, *, threads: int) -> None:
        assert isinstance(prepared.network, ReActNetA)
        self._prepared = prepared
        self._network = PackedReActNet.from_network(prepared.network, threads=threads)

    def __call__(self, faces: Image) -> npt.NDArray[np.float32]:
        """Turn (n, s, s, 3) uint8 RGB faces, at least one, into (n, d) float32 features."""
        with torch.inference_mode():
            images = self._prepared.preprocess(torch.from_numpy(np.ascontiguousarray(faces)))
        features: npt.NDArray[np.float32] = self._network(images.numpy())
        return features
