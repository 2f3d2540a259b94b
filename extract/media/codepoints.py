"""Code points of colour, ITU-T H.273: which transfer functions and primaries are converted, and how they are called."""

from collections.abc import Mapping

from extract.media.tone import Primaries, Transfer

UNSPECIFIED = 2
HDR_TRANSFERS: Mapping[int, Transfer] = {16: "pq", 18: "hlg"}  # table 3
PRIMARIES: Mapping[int, Primaries] = {9: "bt2020", 12: "p3"}  # table 2
# Matrix coefficients, table 4, that FFmpeg converts by their own formula, and the names of the others.
MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
REFUSED: Mapping[int, str] = {
    **{3: "reserved", 8: "YCgCo", 10: "BT.2020 constant luminance", 11: "SMPTE 2085"},
    **{12: "chromaticity-derived", 13: "chromaticity-derived, constant luminance", 14: "ICtCp", 15: "IPT-C2"},
    **{16: "YCgCo-Re", 17: "YCgCo-Ro"},
}


def sdr_inputs(primaries: int, transfer: int) -> tuple[Primaries, Transfer]:
    """Return what `to_sdr` needs of stated code points; HDR without stated primaries has BT.2020's (BT.2100)."""
    curve: Transfer = HDR_TRANSFERS.get(transfer, "sdr")
    if primaries == UNSPECIFIED and curve != "sdr":
        return "bt2020", curve
    return PRIMARIES.get(primaries, "bt709"), curve
