"""Embeddings of cells: read from files, or made by a foundation model."""

from reconeval.embedders.files import read_embedding, write_embedding

__all__ = ["read_embedding", "write_embedding"]
