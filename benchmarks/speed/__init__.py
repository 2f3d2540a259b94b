"""Measured comparisons against what a user would write by hand."""
