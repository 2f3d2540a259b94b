"""Measurements of the product itself; each prints what it measures."""
