"""The name of the store folder of face settings."""

import cv2

from extract import media
from extract.faces.crops import CROPS
from extract.faces.detectors import FACE_DETECTORS, MTCNN
from extract.faces.settings import FaceSettings
from extract.files import digest
from extract.media.perturb import parse_perturbation


def faces_key(settings: FaceSettings, *, decoding: int | None = None) -> str:
    """Name the store folder of these settings: readable, and different whenever a crop could differ.

    Parameters
    ----------
    decoding : int, optional
        Another decoding revision than `extract.media.DECODING`.
    """
    made_by = [
        CROPS,
        FACE_DETECTORS[settings.detector].fingerprint,
        cv2.__version__,  # it scales: another release may give other pixels
        media.DECODING if decoding is None else decoding,
        *_elsewhere(settings),
    ]
    beside = {"no_face", "perturb"}
    values = {k: v for k, v in vars(settings).items() if not k.startswith("_") and k not in beside}
    if not settings.perturb:
        return f"{settings.detector}-{settings.size}-{digest([values, *made_by])[:16]}"
    hashed = digest([values, *made_by, *parse_perturbation(settings.perturb).key])
    return f"{settings.detector}-{settings.size}-{settings.perturb}-{hashed[:16]}"


def _elsewhere(settings: FaceSettings) -> list[str]:
    """Return the device of a detector that runs on another one than the processor: its boxes may differ a little."""
    if FACE_DETECTORS[settings.detector] is not MTCNN:
        return []
    import torch

    return ["cuda"] if torch.cuda.is_available() else []
