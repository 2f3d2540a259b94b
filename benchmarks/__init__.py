"""Suites, the loop over extractors and classifiers, and what a run leaves behind."""
