"""Files in, RGB frames out: which frames of a clip, decoded from this file alone, upright and in sRGB's range."""

# Of all code in this folder: raise it when the same file gives other pixels or other frames. Keys of faces and features
# hold it. The release of PyAV is recorded with results and is no part of any key.
DECODING = 4
