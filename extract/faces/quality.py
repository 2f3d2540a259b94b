"""How good a picture of a face is: its size, its sharpness, and how much of it lies in the frame."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from extract.faces.crops import WHOLE, Part, scale_to, share_outside
from extract.media.frames import Image

SHARPNESS_SIDE = 112  # pixels of the crop where sharpness is measured, whatever its stored size
# Measured on the faces of 200 photographs, one a person, crops of 224 pixels with the default margin. Scaled down to 60
# pixels a face keeps a third of its sharpness (median), to 80 half, to 40 an eighth; MTCNN finds all down to 20.
SMALL = 64  # pixels
# As they are, none is below 335 (median 1,110). Blurred by a Gaussian of 3 pixels the median is 32 and 97 % are below
# 60, of 2 pixels the median is 91 and 8 % are, of 1 pixel none.
BLURRED = 60.0
# As they are, none is above 0.04. The square around a face that touches one edge of the frame is 0.12 outside, so that
# above 0.15 part of the face itself is cut off, or nearly.
OUTSIDE = 0.15


@dataclass(frozen=True)
class Quality:
    """What a service needs to know to ask for another picture.

    Attributes
    ----------
    size : float
        Longer side of the box, pixels of the frame.
    sharpness : float
        As `sharpness` measures it.
    outside : float
        Share of the crop, margin included, that lies outside the frame and is black.
    """

    size: float
    sharpness: float
    outside: float

    @property
    def faults(self) -> dict[str, str]:
        """What is poor, by kind: ``small``, ``blurred``, ``partly outside the frame``.

        >>> Quality(size=38.2, sharpness=900.0, outside=0.31).faults
        {'small': 'small: 38 pixels', 'partly outside the frame': '31% outside the frame'}
        """
        found = {
            "small": (self.size < SMALL, f"small: {self.size:.0f} pixels"),
            "blurred": (self.sharpness < BLURRED, "blurred"),
            "partly outside the frame": (self.outside > OUTSIDE, f"{self.outside:.0%} outside the frame"),
        }
        return {kind: text for kind, (poor, text) in found.items() if poor}


def measure(crop: Image, part: Part, *, size: float) -> Quality:
    """Judge a crop (s, s, 3) uint8 RGB of which `part` shows the frame."""
    return Quality(size, sharpness(crop, part), share_outside(part))


def sharpness(crop: Image, part: Part = WHOLE) -> float:
    """Return the variance of the Laplacian of a crop's grey levels, scaled to `SHARPNESS_SIDE`.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000. Only the part
    that shows the frame is measured: its border with the black outside would count as detail.

    Parameters
    ----------
    crop : (s, s, 3) uint8 RGB
    part : x1, y1, x2, y2
        As `part_inside` gives it.

    Returns
    -------
    float
        Grey levels of 255, squared; 0 where nothing can be measured.
    """
    grey = cv2.cvtColor(scale_to(crop, SHARPNESS_SIDE), cv2.COLOR_RGB2GRAY)
    x1, y1 = (math.ceil(low * SHARPNESS_SIDE) for low in part[:2])
    x2, y2 = (math.floor(high * SHARPNESS_SIDE) for high in part[2:])
    if x2 - x1 < 3 or y2 - y1 < 3:
        return 0.0
    return float(cv2.Laplacian(grey[y1:y2, x1:x2], cv2.CV_64F).var())


def say_faults(faces: Sequence[Quality]) -> str:
    """Say in a line what is poor about the faces of a clip; empty where nothing is.

    >>> say_faults([Quality(30.0, 900.0, 0.0), Quality(90.0, 900.0, 0.0)])
    'small: 1 of 2 faces'
    """
    faults = [face.faults for face in faces]
    if len(faults) == 1:
        return ", ".join(faults[0].values())
    counts = Counter(kind for one in faults for kind in one)
    return ", ".join(f"{kind}: {count} of {len(faces)} faces" for kind, count in counts.items())


def say_no_face(searched: int, note: str = "") -> str:
    """Say that no frame of so many shows a usable face, and what else is known of the clip.

    >>> say_no_face(2, "truncated: 2 of 9 frames can be read")
    'no usable face in 2 frames; truncated: 2 of 9 frames can be read'
    """
    words = f"no usable face in {searched} frame{'s' if searched != 1 else ''}"
    return f"{words}; {note}" if note else words
