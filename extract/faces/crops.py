"""Cut squares around boxes out of frames, and say which part of a square lies in its frame."""

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from extract.media.frames import Image

CROPS = 3  # of the code in this folder: raise it when the same frames and settings give other crops
Floats = npt.NDArray[np.float32]
Part = tuple[float, float, float, float]
WHOLE: Part = (0.0, 0.0, 1.0, 1.0)


def crop(image: Image, box: Floats, *, margin: float, size: int) -> Image:
    """Cut a square around a box and scale it.

    Parameters
    ----------
    image : (h, w, 3) uint8 RGB
    box : (4,) x1, y1, x2, y2 in pixels
    margin : float
        Share of the box's longer side that is added to the square's side.
    size : int
        Side of the result, pixels; shrunk by area averaging, enlarged by cubic interpolation.

    Returns
    -------
    (size, size, 3) uint8 RGB
    """
    if _is_whole(image.shape, box, margin):
        return scale_to(image, size)
    left, top, side = _square(box, margin)
    square = np.zeros((side, side, 3), np.uint8)
    inside = image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    square[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]] = inside
    return scale_to(square, size)


def part_inside(shape: tuple[int, ...], box: Floats, *, margin: float) -> Part:
    """Return the part of a crop that shows the frame: x1, y1, x2, y2 as shares of its side.

    Parameters
    ----------
    shape : (h, w, ...)
        Of the frame.
    box, margin
        As `crop` takes them.

    >>> part_inside((100, 100), np.array([-10, 40, 10, 60], np.float32), margin=0)
    (0.5, 0.0, 1.0, 1.0)
    """
    if _is_whole(shape, box, margin):
        return WHOLE
    left, top, side = _square(box, margin)
    x1, x2 = (min(max(x - left, 0), side) / side for x in (0, shape[1]))
    y1, y2 = (min(max(y - top, 0), side) / side for y in (0, shape[0]))
    return x1, y1, x2, y2


def share_outside(part: Part) -> float:
    """Return the share of a crop that does not show the frame, given the part that does."""
    x1, y1, x2, y2 = part
    return 1.0 - (x2 - x1) * (y2 - y1)


def _is_whole(shape: tuple[int, ...], box: Floats, margin: float) -> bool:
    return margin == 0 and tuple(box) == (0, 0, shape[1], shape[0])


def _square(box: Floats, margin: float) -> tuple[int, int, int]:
    """Return the left, the top and the side of the square around a box, whole pixels."""
    x1, y1, x2, y2 = (float(v) for v in box)
    side = max(1, round(max(x2 - x1, y2 - y1) * (1 + margin)))
    return round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2), side


def shrink(image: Image, scale: float) -> Image:
    """Scale an image, (h, w, 3) uint8 RGB, by a factor of at most 1."""
    if scale == 1.0:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cast(Image, cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def scale_to(image: Image, size: int) -> Image:
    """Scale an image to a square of `size` pixels: by area averaging where it shrinks, else by cubic interpolation."""
    if image.shape[:2] == (size, size):
        return image
    method = cv2.INTER_AREA if min(image.shape[:2]) > size else cv2.INTER_CUBIC
    return cast(Image, cv2.resize(image, (size, size), interpolation=method))
