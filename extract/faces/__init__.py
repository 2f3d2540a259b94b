"""Frames in, face crops out: faces are found, followed, cropped at full resolution and judged by stated rules."""

from extract.faces.clips import Faces, crop_faces, crop_frames, whole_crops
from extract.faces.crops import crop
from extract.faces.detectors import (
    FACE_DETECTORS,
    MTCNN,
    Detection,
    FaceDetector,
    Floats,
    WholeFrame,
    face_detector,
)
from extract.faces.keys import faces_key
from extract.faces.reading import one_file, read_clip
from extract.faces.settings import FaceSettings

__all__ = [
    "FACE_DETECTORS",
    "MTCNN",
    "Detection",
    "FaceDetector",
    "FaceSettings",
    "Faces",
    "Floats",
    "WholeFrame",
    "crop",
    "crop_faces",
    "crop_frames",
    "face_detector",
    "faces_key",
    "one_file",
    "read_clip",
    "whole_crops",
]
