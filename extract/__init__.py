"""Clips in, features out. The only package that imports torch."""
