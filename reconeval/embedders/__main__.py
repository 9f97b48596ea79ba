"""`python -m reconeval.embedders EMBEDDER CELLS OUT`: embed cells into a file.

For a package that needs an environment of its own; `tools/embed` runs it there.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval.embedders.files import write_embedding
from reconeval.errors import ReconevalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Embed cells and write the result; returns 0 ok, 1 the embedder failed, 4 bad usage."""
    parser = argparse.ArgumentParser(prog="python -m reconeval.embedders", description=__doc__)
    parser.add_argument("embedder", help="MODULE:CLASS?key=value, as for pytest --embedder")
    parser.add_argument("cells", help="an .h5ad file, or the name of a dataset of reconeval")
    parser.add_argument("out", type=Path, help="file to write, .h5ad or .npy")
    parser.add_argument("--counts-layer", metavar="LAYER", help="layer with raw counts, or X")
    args = parser.parse_args(argv)
    warnings.showwarning = _one_line_warning
    try:
        _embed(args)
    except UsageError as error:
        print(f"reconeval: {error}", file=sys.stderr)
        return 4
    except ReconevalError as error:
        print(f"reconeval: {error}", file=sys.stderr)
        return 1
    return 0


def _embed(args: argparse.Namespace) -> None:
    from reconeval.embedding import parse_embedder
    from reconeval.filling import fill

    spec = parse_embedder(args.embedder)
    if args.out.suffix not in {".h5ad", ".npy"} or not args.out.absolute().parent.is_dir():
        msg = f"{args.out}: expected a path in an existing folder that ends in .h5ad or .npy"
        raise UsageError(msg)
    positional, keywords = fill(spec.factory, {}, spec.kwargs, where=spec.option)
    embedder = spec.factory(*positional, **keywords)
    if callable(getattr(embedder, "fit", None)):
        msg = f"{spec.option}: is fitted on training cells, which a file of embeddings cannot "
        msg += "know; give it to pytest --embedder"
        raise UsageError(msg)
    cells = _read(args.cells, args.counts_layer)
    names = cells.obs_names
    embedding = embedder.embed(cells)
    write_embedding(args.out, embedding, names)
    print(f"{args.out}: {len(embedding)} cells, {embedding.shape[1]} dimensions")


def _read(source: str, counts_layer: str | None) -> AnnData:
    from reconeval.datasets import dataset_names, load_dataset

    if source in dataset_names() or counts_layer is not None:
        return load_dataset(source, counts_layer=counts_layer).adata.copy()
    from anndata import read_h5ad

    path = Path(source)
    if not path.is_file():
        msg = f"{source}: no such file; give an .h5ad file, or one of {', '.join(dataset_names())}"
        raise UsageError(msg)
    try:
        return read_h5ad(path)
    except Exception as error:  # a damaged file can raise anything
        msg = f"{path}: cannot be read as .h5ad ({type(error).__name__}: {error})"
        raise UsageError(msg) from error


def _one_line_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"reconeval: {message}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
