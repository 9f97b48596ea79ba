"""Frozen datasets, splits and the user's own files."""
