"""High dynamic range and wide gamut to what an ordinary camera would have stored: BT.709 colours in BT.709's curve.

Scene light r is measured against a white sheet of paper (r = 1), the reference white of ITU-R BT.2408: 75 % of HLG's
signal, 203 cd/m2 of PQ's display. From a signal V in [0, 1]:

    HLG   r = E(V) / E(0.75), E the inverse of the OETF of ITU-R BT.2100, table 5
    PQ    r = G((F(V) / 203) ** (1 / 2.4)), F the EOTF of BT.2100, table 4, in cd/m2, and G the inverse of BT.709's
          OETF: BT.2100 defines PQ's display light as BT.709's signal on a display of gamma 2.4
    SDR   r = G(V)

Light in BT.2020 or Display P3 primaries is brought to BT.709's by the matrix of their chromaticities (SMPTE RP 177);
colours outside are clipped. Of HDR, what is brighter than the knee k = 0.7 is compressed so that the peak p, that of
1,000 cd/m2, becomes 1. All three channels of a pixel are scaled alike, by f(m) / m of its largest one, m:

    f(m) = k + (1 - k) x (1 + x / X**2) / (1 + x),  x = (m - k) / (1 - k),  X = (p - k) / (1 - k)

This is equation 4 of Reinhard et al. (2002) above the knee. Its slope at the knee is 1, so that skin stays as an SDR
camera stores it. The result is BT.709's OETF of r, in 8 bits.
"""

from collections.abc import Callable
from functools import cache
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from extract.media.frames import Image

Floats = npt.NDArray[np.float64]
Transfer = Literal["hlg", "pq", "sdr"]
Primaries = Literal["bt2020", "p3", "bt709"]

KNEE = 0.7
WHITE_NITS, PEAK_NITS = 203.0, 1000.0
WHITE_HLG = 0.75
BAND = 2**20  # pixels that are converted at once: what they take in floating point is 40 bytes each
# x, y of red, green, blue and white: BT.2020 table 3, SMPTE EG 432-1, BT.709 table 1
CHROMATICITIES = {
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
}


def to_sdr(pixels: npt.NDArray[np.uint16], *, transfer: Transfer, primaries: Primaries) -> Image:
    """Convert pixels as the module says.

    Parameters
    ----------
    pixels : (h, w, 3) uint16 RGB
        Signals, 65,535 = 1.

    Returns
    -------
    (h, w, 3) uint8 RGB
    """
    height, width = pixels.shape[:2]
    converted = np.empty((height, width, 3), np.uint8)
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        converted[top : top + rows] = _converted(pixels[top : top + rows], transfer, primaries)
    return converted


def _converted(pixels: npt.NDArray[np.uint16], transfer: Transfer, primaries: Primaries) -> Image:
    light = _light_of_codes(transfer)[pixels]
    if primaries != "bt709":
        matrix = to_bt709(primaries).astype(np.float32)
        light = np.asarray(cv2.transform(light, matrix), np.float32).reshape(pixels.shape)
    np.maximum(light, 0, out=light)
    if transfer != "sdr":
        largest = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
        bright = largest > KNEE
        light[bright] *= (compress(largest[bright]) / largest[bright])[:, None]
    codes = (np.minimum(light, 1) * 65535 + 0.5).astype(np.uint16)
    return _codes_of_light()[codes]


def compress(m: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Compress light above the knee: f of the module's docstring, 1 at the peak and beyond."""
    reach = (peak() - KNEE) / (1 - KNEE)
    x = (np.minimum(m, np.float32(peak())) - np.float32(KNEE)) / np.float32(1 - KNEE)
    return np.asarray(KNEE + (1 - KNEE) * x * (1 + x / reach**2) / (1 + x), np.float32)


@cache
def peak() -> float:
    """Light of the peak, 1,000 cd/m2 of a display, against the reference white's."""
    return float(from_bt709(np.array((PEAK_NITS / WHITE_NITS) ** (1 / 2.4))))


def from_hlg(signal: Floats) -> Floats:
    """Invert HLG's OETF (BT.2100, table 5) and measure against its reference white."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073

    def light(v: Floats) -> Floats:
        return np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12)

    return np.asarray(light(signal) / light(np.array(WHITE_HLG)))


def from_pq(signal: Floats) -> Floats:
    """Apply PQ's EOTF (BT.2100, table 4) and go back from the display's light to the scene's."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = signal ** (1 / m2)
    nits = 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return from_bt709((nits / WHITE_NITS) ** (1 / 2.4))


def from_bt709(signal: Floats) -> Floats:
    """Invert BT.709's OETF (item 1.2), which is BT.2020's, too."""
    return np.where(signal < 4.5 * 0.018, signal / 4.5, ((signal + 0.099) / 1.099) ** (1 / 0.45))


def to_signal(light: Floats) -> Floats:
    """Apply BT.709's OETF."""
    return np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)


@cache
def to_bt709(primaries: str) -> Floats:
    """Return the matrix (3, 3) from linear light in these primaries to that in BT.709's."""
    return np.asarray(np.linalg.solve(to_xyz("bt709"), to_xyz(primaries)), np.float64)


def to_xyz(primaries: str) -> Floats:
    """Return the matrix (3, 3) from linear light in these primaries to XYZ; their white has Y = 1."""
    points = np.array([(x / y, 1, (1 - x - y) / y) for x, y in CHROMATICITIES[primaries]]).T
    colours, white = points[:, :3], points[:, 3]
    return np.asarray(colours * np.linalg.solve(colours, white))


INVERSE: dict[Transfer, Callable[[Floats], Floats]] = {"hlg": from_hlg, "pq": from_pq, "sdr": from_bt709}


@cache
def _light_of_codes(transfer: Transfer) -> npt.NDArray[np.float32]:
    return INVERSE[transfer](np.arange(65536) / 65535).astype(np.float32)


@cache
def _codes_of_light() -> Image:
    return np.rint(255 * to_signal(np.arange(65536) / 65535)).astype(np.uint8)
