"""Embeddings of cells: read from files, or made by an embedder.

Importing this package loads no foundation model and none of their libraries.
"""

from reconeval.embedders.files import read_embedding, write_embedding
from reconeval.embedders.pca import PCAEmbedder
from reconeval.embedders.scconcept import ScConceptEmbedder
from reconeval.embedders.scgpt import ScGPTEmbedder
from reconeval.embedders.scimilarity import SCimilarityEmbedder
from reconeval.embedders.se import SEEmbedder

__all__ = [
    "PCAEmbedder",
    "SCimilarityEmbedder",
    "SEEmbedder",
    "ScConceptEmbedder",
    "ScGPTEmbedder",
    "read_embedding",
    "write_embedding",
]
