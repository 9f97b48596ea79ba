"""`reconeval check mypkg:MyModel`: the contract from the shell."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reconeval.contract import CHECKS, Outcome, Subject, contract_data, run_check
from reconeval.errors import UsageError
from reconeval.spec import parse_models

if TYPE_CHECKING:
    from reconeval.spec import ModelSpec

__all__ = ["add_arguments", "run"]

_MARKS = {"passed": "✓", "failed": "✗", "excepted": "!", "not offered": "-"}
_EPILOG = """\
✓ holds   ✗ is broken   ! is broken, as the model declares   - not offered by the model
exit codes: 0 all hold, 1 a rule is broken, 4 bad usage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help='[ALIAS=]MODULE:CLASS["?key=value&train.key=value"], or a TOML file of models',
    )
    parser.add_argument("--dataset", default="pbmc68k", help="name or .h5ad file (%(default)s)")
    parser.add_argument("--cell-type-key", metavar="COLUMN", help="column of obs in your file")
    parser.add_argument(
        "--counts-layer", metavar="LAYER", help='layer of raw counts in your file, or "X"'
    )
    parser.add_argument("--batch-key", metavar="COLUMN", help="column of obs in your file")
    parser.add_argument("--seed", type=int, default=0, help="of every training (%(default)s)")
    parser.add_argument(
        "--accelerator", default="cpu", choices=("cpu", "gpu"), help="where to train (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Check the models one after the other.

    Parameters
    ----------
    args
        Parsed arguments.

    Returns
    -------
    0 if every rule holds or its exception is declared, 1 otherwise.

    Raises
    ------
    UsageError
        If a model, the dataset or the seed cannot be used.
    """
    from reconeval.datasets import load_dataset, make_split

    if not 0 <= args.seed < 2**32:
        msg = f"--seed {args.seed}: expected a number from 0 to 2**32 - 1, as NumPy takes"
        raise UsageError(msg)
    specs = parse_models(args.models, option="")
    dataset = load_dataset(
        args.dataset,
        cell_type_key=args.cell_type_key,
        counts_layer=args.counts_layer,
        batch_key=args.batch_key,
    )
    data, X = contract_data(dataset, make_split(dataset, "iid"))
    failed = 0
    for spec in specs:
        cells = f"{len(data.X)} training and {len(X)} test cells of {dataset.name}"
        print(f"{spec.id}, {cells}", flush=True)
        failed += _check(spec, Subject(spec, data, X, seed=args.seed, accelerator=args.accelerator))
    return 1 if failed else 0


def _check(spec: ModelSpec, subject: Subject) -> int:
    failed = 0
    seen: set[str] = set()
    for check in CHECKS:
        outcome = run_check(check, subject)
        failed += outcome.status == "failed"
        print(_line(outcome, seen), flush=True)
        seen.add(outcome.message)
    print(f"{spec.id}: {failed} of {len(CHECKS)} checks failed\n", flush=True)
    return failed


def _line(outcome: Outcome, seen: set[str]) -> str:
    # A training that fails breaks most checks with one and the same message.
    message = "as above" if outcome.message and outcome.message in seen else outcome.message
    return f"  {_MARKS[outcome.status]} {outcome.name:<20} {message}".rstrip()
