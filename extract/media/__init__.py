"""Files in, RGB frames out: which frames of a clip, decoded from this file alone, upright and in sRGB's range."""
