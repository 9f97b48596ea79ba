"""Metrics: pure functions, their table, and the published names on AnnData pairs."""
