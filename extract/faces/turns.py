"""Frames turned by quarters, and what is found in them mapped back."""

import numpy as np

from extract.faces.detectors import Detection, Floats
from extract.media.frames import Image

TURNS = (90, 180, 270)  # degrees, clockwise


def turn(image: Image, degrees: int) -> Image:
    """Turn an image (h, w, 3) clockwise by 0, 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(image, -degrees // 90)) if degrees else image


def turn_back(found: Detection, degrees: int, *, shape: tuple[int, ...]) -> Detection:
    """Map a face that was found in a turned frame to the frame's own pixels.

    Parameters
    ----------
    found : Detection
    degrees : int
        By which the frame was turned, clockwise.
    shape : (h, w, ...)
        Of the frame as it was before.
    """
    if not degrees:
        return found
    corners = _points_back(found.box.reshape(2, 2), degrees, shape)
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return Detection(box, found.confidence, _points_back(found.landmarks, degrees, shape))


def _points_back(points: Floats, degrees: int, shape: tuple[int, ...]) -> Floats:
    """Map points (n, 2), x and y, back."""
    height, width = shape[:2]
    x, y = points.T
    back = {90: (y, height - x), 180: (width - x, height - y), 270: (width - y, x)}[degrees]
    return np.stack(back, axis=1).astype(np.float32)
