"""What happens to clips on their way: recompressed, blurred, scaled, noisy. Whole frames, before faces are searched.

A perturbation is a family and a strength, ``jpeg-30``; a family alone stands for all its standard strengths. What
changes pixels one image at a time is here; what needs the whole video is in `extract.media.recompress`.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import cv2
import numpy as np

from extract.errors import RequestError, UnreadableClip, unknown
from extract.media.frames import Frames, Image
from extract.media.kinds import kind_of
from extract.media.recompress import recompress
from extract.registry import Registry

PIXELS = 1  # of the code below and in recompress.py: raise it when the same perturbation gives other pixels
ALL = "all"
BLUR_SIDE = 640  # pixels: the long side of larger frames where sigma is measured, as where faces are searched
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")

Effect = Callable[[Frames, Path, float], list[Image]]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of perturbation.

    Attributes
    ----------
    effect : callable
        Frames of a clip, its path and a strength in; as many images of the same sizes out. The same frames give
        the same pixels, whatever was perturbed before.
    standard : tuple of float
        What the family's name alone stands for, weak to strong.
    stronger : {"higher", "lower"}
        Which strengths change more.
    accepts : callable
        Whether a finite strength makes sense.
    unit : str
        What a strength is, for error messages.
    made_by : tuple of str
        Packages, besides OpenCV, of which another release may give other pixels.
    stills : bool
        Whether it applies to single images, too.
    """

    effect: Effect
    standard: tuple[float, ...]
    stronger: Literal["higher", "lower"]
    accepts: Callable[[float], bool]
    unit: str
    made_by: tuple[str, ...] = ()
    stills: bool = True


FAMILIES: Registry[Family] = Registry("perturbation")


@dataclass(frozen=True)
class Perturbation:
    """A family at one strength.

    Attributes
    ----------
    family : str
        A name in `FAMILIES`.
    strength : float
        In the family's unit.

    Raises
    ------
    RequestError
        An unknown family, a strength that makes no sense.

    >>> Perturbation("jpeg", 30).name
    'jpeg-30'
    """

    family: str
    strength: float

    def __post_init__(self) -> None:
        family = FAMILIES[self.family]
        if not (math.isfinite(self.strength) and family.accepts(self.strength)):
            raise _senseless(self.family, f"{self.strength:g}")
        object.__setattr__(self, "strength", float(self.strength))  # 30 and 30.0 are one key

    @property
    def name(self) -> str:
        """How a suite writes it: ``jpeg-30``, ``resize-0.25``."""
        return f"{self.family}-{np.format_float_positional(self.strength, trim='-')}"

    @property
    def severity(self) -> float:
        """Sorts the strengths of one family from weak to strong."""
        return self.strength if FAMILIES[self.family].stronger == "higher" else -self.strength

    @property
    def order(self) -> tuple[int, float]:
        """Sorts perturbations by family, as registered, and from weak to strong within it."""
        return list(FAMILIES).index(self.family), self.severity

    @property
    def key(self) -> list[Any]:
        """What a cache key needs besides OpenCV's version: changes whenever a pixel could."""
        return [self.name, PIXELS, *(f"{p} {version(p)}" for p in FAMILIES[self.family].made_by)]

    def applies_to(self, path: str) -> bool:
        """Whether a file can be perturbed this way: nobody recompresses a still as a video."""
        return FAMILIES[self.family].stills or kind_of(Path(path)) == "video"

    def apply(self, frames: Frames, *, path: Path) -> Frames:
        """Perturb the frames of a clip.

        Parameters
        ----------
        frames : Frames
            As `read_frames` gives them.
        path : Path
            The clip that they are of.

        Returns
        -------
        Frames
            Other images, (h, w, 3) uint8 RGB of the same sizes; the same numbers and note.

        Raises
        ------
        UnreadableClip
            The perturbation does not apply to this clip; the message is the reason.
        """
        return replace(frames, images=FAMILIES[self.family].effect(frames, path, self.strength))


def parse_perturbations(names: Iterable[str]) -> tuple[Perturbation, ...]:
    """Read perturbations as a suite writes them: ``jpeg-30``, a family for its standard strengths, ``all``.

    Their order is kept, a family's strengths come weak to strong, and what is named twice is there once.

    Raises
    ------
    RequestError
        An unknown name, with the nearest one; a strength that makes no sense.

    >>> [p.name for p in parse_perturbations(["resize", "jpeg-30", "resize-0.5"])]
    ['resize-0.75', 'resize-0.5', 'resize-0.25', 'jpeg-30']
    """
    return tuple(dict.fromkeys(one for name in names for one in _expand(name)))


def parse_perturbation(name: str) -> Perturbation:
    """Read the name of one perturbation; `RequestError` as `parse_perturbations`, and for a family."""
    found = _expand(name)
    if name == ALL or name in FAMILIES:
        names = ", ".join(one.name for one in found)
        raise RequestError(
            f"Expected one perturbation; got {name!r}, which is several. Choose one of: {names}."
        )
    return found[0]


def _expand(name: str) -> list[Perturbation]:
    if name == ALL:
        return [one for family in FAMILIES for one in _expand(family)]
    if name in FAMILIES:
        return [Perturbation(name, strength) for strength in FAMILIES[name].standard]
    family, dash, strength = name.partition("-")
    if not dash or family not in FAMILIES:
        raise unknown("perturbation", name, _known(with_strengths=bool(dash)))
    if not NUMBER.fullmatch(strength):
        raise _senseless(family, strength)
    return [Perturbation(family, float(strength))]


def _known(*, with_strengths: bool) -> list[str]:
    return [one.name for one in _expand(ALL)] if with_strengths else [ALL, *FAMILIES]


def _senseless(family: str, strength: str) -> RequestError:
    standard = ", ".join(one.name for one in _expand(family))
    return RequestError(
        f"Expected {FAMILIES[family].unit} after '{family}-'; got {strength!r}. Usual are {standard}."
    )


# -- one image at a time -------------------------------------------------------------------------------------


def _each(change: Callable[[Image, float], Image]) -> Effect:
    return lambda frames, path, strength: [change(image, strength) for image in frames.images]


def compress_jpeg(image: Image, quality: float) -> Image:
    """Compress as JPEG (libjpeg's quality, 4:2:0 chroma) and decode again; image and result (h, w, 3) uint8 RGB."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:  # a side of more than 65,500 pixels
        raise UnreadableClip("cannot be encoded as JPEG")
    return cast(Image, cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))


def blur(image: Image, sigma: float) -> Image:
    """Blur by a Gaussian; image and result (h, w, 3) uint8 RGB.

    `sigma` is in pixels of the frame scaled down, where it is larger, to `BLUR_SIDE` on its long side. A lens out of
    focus blurs the same part of the scene at any resolution, and data sets mix resolutions; in small frames and crops
    less than a pixel would be no blur at all.
    """
    scale = max(1, max(image.shape[:2]) / BLUR_SIDE)
    return cast(Image, cv2.GaussianBlur(image, (0, 0), sigma * scale))


def rescale(image: Image, share: float) -> Image:
    """Scale to a share of both sides by area averaging and back by cubic interpolation; (h, w, 3) uint8 RGB."""
    height, width = image.shape[:2]
    small = (max(1, round(width * share)), max(1, round(height * share)))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cast(Image, cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC))


def add_noise(image: Image, deviation: float) -> Image:
    """Add Gaussian noise, independent for each pixel and channel; image and result (h, w, 3) uint8 RGB.

    `deviation` is in grey levels of 255. The seed is the image's bytes, so that the noise depends neither on what
    was perturbed before nor on the strength: a stronger noise is the same grains, larger.
    """
    seed = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    grains = np.random.default_rng(int.from_bytes(seed, "little")).standard_normal(image.shape, np.float32)
    levels = image + grains * np.float32(deviation)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


# -- the whole video -----------------------------------------------------------------------------------------


def _recompressed(frames: Frames, path: Path, crf: float) -> list[Image]:
    if kind_of(path) == "image":
        raise UnreadableClip("a still image: h264 perturbs videos only")
    return recompress(path, frames.numbers, crf=crf)


FAMILIES.add(
    "jpeg",
    Family(
        effect=_each(compress_jpeg),
        standard=(90, 70, 50, 30),
        stronger="lower",
        accepts=lambda quality: 0 <= quality <= 100 and quality == int(quality),
        unit="a quality, a whole number from 0 to 100,",
    ),
)
FAMILIES.add(
    "blur",
    Family(
        effect=_each(blur),
        standard=(1, 2, 4),
        stronger="higher",
        accepts=lambda sigma: 0 < sigma <= 100,
        unit=f"a standard deviation above 0, at most 100, in pixels of a frame at most {BLUR_SIDE} long,",
    ),
)
FAMILIES.add(
    "resize",
    Family(
        effect=_each(rescale),
        standard=(0.75, 0.5, 0.25),
        stronger="lower",
        accepts=lambda share: 0 < share < 1,
        unit="a share of the frame's sides between 0 and 1",
    ),
)
FAMILIES.add(
    "noise",
    Family(
        effect=_each(add_noise),
        standard=(5, 10, 20),
        stronger="higher",
        accepts=lambda deviation: 0 < deviation <= 255,
        unit="a standard deviation above 0, at most 255, in grey levels",
        made_by=("numpy",),  # its generators may draw other numbers in another release
    ),
)
FAMILIES.add(
    "h264",
    Family(
        effect=_recompressed,
        standard=(23, 40),  # FaceForensics++'s c23 and c40
        stronger="higher",
        accepts=lambda crf: 0 <= crf <= 51,
        unit="a constant rate factor (CRF) from 0 to 51",
        made_by=("av",),  # its wheel carries x264 and the decoder
        stills=False,
    ),
)
