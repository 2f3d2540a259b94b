"""Draw persons who do not exist, with OpenCV and arithmetic alone."""
