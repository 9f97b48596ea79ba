"""The pytest side: hooks only."""
