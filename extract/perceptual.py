"""A perceptual hash of every face, to find pictures that are nearly the same."""

from importlib.metadata import version

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from extract.files import digest

SIDE = 16


class PerceptualHash:
    """Signs of the low frequencies of the grey picture (pHash, Zauner 2010), from ImageHash.

    It has the form of an extractor, so that the feature store keeps it: faces (n, s, s, 3) uint8 RGB in,
    (n, 256) float32 out, zeros and ones.
    """

    name = "perceptual_hash"
    dim = SIDE * SIDE
    fingerprint = digest(["phash", SIDE, version("imagehash")])

    def __call__(self, faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        bits = [imagehash.phash(Image.fromarray(face), hash_size=SIDE).hash.ravel() for face in faces]
        return np.array(bits, np.float32).reshape(-1, self.dim)
