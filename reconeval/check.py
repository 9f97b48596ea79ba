"""`reconeval check mypkg:MyModel`: the contract from the shell."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from reconeval.contract import (
    SUBJECTS,
    Outcome,
    Subject,
    checks,
    contract_data,
    decoder_contract_data,
    few_cells,
    predictor_contract_data,
    run_check,
)
from reconeval.errors import UsageError
from reconeval.interrupts import interrupted_by_sigterm
from reconeval.preflight import check_settings
from reconeval.spec import parse_models

if TYPE_CHECKING:
    from reconeval.inputs import Inputs
    from reconeval.offers_embedded import ShiftData
    from reconeval.spec import ModelSpec

__all__ = ["add_arguments", "run"]

_KEYS = ("cell_type_key", "counts_layer", "batch_key")
_PERTURBATION_KEYS = ("perturbation_key", "control", "descriptor_key")
_MARKS = {"passed": "✓", "failed": "✗", "excepted": "!", "not offered": "-"}
_EPILOG = """\
✓ holds   ✗ is broken   ! is broken, as the model declares   - not offered by the model
exit codes: 0 all hold, 1 a rule is broken, 4 bad usage, 130 interrupted"""


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
    parser.add_argument(
        "--dataset",
        help="name or .h5ad file (default pbmc68k; for predictors cells drawn for it)",
    )
    own = parser.add_argument_group("columns and layers of your own file")
    own.add_argument("--cell-type-key", metavar="COLUMN", help="cell types, in obs")
    own.add_argument("--counts-layer", metavar="LAYER", help='layer of raw counts, or "X"')
    own.add_argument("--batch-key", metavar="COLUMN", help="batches or donors, in obs")
    own.add_argument("--perturbation-key", metavar="COLUMN", help="for predictors: in obs")
    own.add_argument("--control", metavar="LABEL", help="for predictors: label of control cells")
    own.add_argument("--descriptor-key", metavar="KEY", help="for predictors: in uns or obsm")
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
        If a model, its settings, the dataset or the seed cannot be used.
    """
    if not 0 <= args.seed < 2**32:
        msg = f"--seed {args.seed}: expected a number from 0 to 2**32 - 1, as NumPy takes"
        raise UsageError(msg)
    specs = parse_models(args.models, option="")
    for spec in specs:
        if spec.task not in SUBJECTS:
            msg = f"{spec.source}: there is no contract of {spec.task} models, only of "
            msg += ", ".join(SUBJECTS)
            raise UsageError(msg)
    check_settings(specs, option="")
    cells = {task: _cells(task, args) for task in {spec.task: None for spec in specs}}
    options = {"seed": args.seed, "accelerator": args.accelerator}
    failed = 0
    for spec in specs:
        data, inputs, where = cells[spec.task]
        print(f"{spec.id}, {where}", flush=True)
        with interrupted_by_sigterm():  # Lightning ends one training by it, not all of them
            failed += _check(spec, SUBJECTS[spec.task](spec, data, inputs, **options))
    return 1 if failed else 0


def _cells(task: str, args: argparse.Namespace) -> tuple[Any, Inputs, str]:
    """Return the training cells of a task, what is to be predicted, and both in words."""
    dataset = args.dataset
    if task == "latent_shift":
        data, inputs = _perturbed(args)
        n_train, where = len(data.ctrl_emb), "drawn" if dataset is None else f"of {dataset}"
        return data, inputs, f"{n_train} training and {len(inputs)} test cells {where}"
    from reconeval.datasets import load_dataset, make_split

    _refuse(args, _PERTURBATION_KEYS, "is for perturbation predictors; leave it out")
    loaded = load_dataset(dataset or "pbmc68k", **_given(args, _KEYS))
    make = contract_data if task == "end_to_end" else decoder_contract_data
    cells, inputs = make(loaded, make_split(loaded, "iid"))
    return cells, inputs, f"{len(cells.X)} training and {len(inputs)} test cells of {loaded.name}"


def _perturbed(args: argparse.Namespace) -> tuple[ShiftData, Inputs]:
    if args.dataset is None:
        _refuse(args, _KEYS + _PERTURBATION_KEYS, "is for a file of your own: add --dataset FILE")
        return predictor_contract_data()
    from reconeval.cases import LatentShiftCase
    from reconeval.datasets import load_perturbation_dataset, make_perturbation_split

    dataset = load_perturbation_dataset(args.dataset, **_given(args, _KEYS + _PERTURBATION_KEYS))
    split = make_perturbation_split(dataset, "iid")
    case = LatentShiftCase(dataset.for_split(split), split)
    return few_cells(case.data, case.test_input())


def _given(args: argparse.Namespace, keys: tuple[str, ...]) -> dict[str, str | None]:
    return {key: getattr(args, key) for key in keys}


def _refuse(args: argparse.Namespace, keys: tuple[str, ...], why: str) -> None:
    for key, value in _given(args, keys).items():
        if value is not None:
            msg = f"--{key.replace('_', '-')} {why}"
            raise UsageError(msg)


def _check(spec: ModelSpec, subject: Subject[Any]) -> int:
    failed = 0
    seen: set[str] = set()
    rules = checks(spec.task)
    for check in rules:
        outcome = run_check(check, subject)
        failed += outcome.status == "failed"
        print(_line(outcome, seen), flush=True)
        seen.add(outcome.message)
    print(f"{spec.id}: {failed} of {len(rules)} checks failed\n", flush=True)
    return failed


def _line(outcome: Outcome, seen: set[str]) -> str:
    # A prediction that fails breaks most checks with one and the same message.
    message = outcome.message
    if message and message in seen and not message.startswith("as above"):
        message = "as above"
    return f"  {_MARKS[outcome.status]} {outcome.name:<20} {message}".rstrip()
