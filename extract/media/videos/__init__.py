"""A video file in, its frames out: which there are, which are chosen, what they need, and whether they are whole."""
