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
from reconeval.spec import parse_models

if TYPE_CHECKING:
    from reconeval.inputs import Inputs
    from reconeval.offers_embedded import ShiftData
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
    parser.add_argument(
        "--dataset",
        help="name or .h5ad file (default pbmc68k; for predictors cells drawn for it)",
    )
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
        If a model or the dataset cannot be used.
    """
    specs = parse_models(args.models, option="")
    for spec in specs:
        if spec.task not in SUBJECTS:
            msg = f"{spec.source}: there is no contract of {spec.task} models, only of "
            msg += ", ".join(SUBJECTS)
            raise UsageError(msg)
    cells = {task: _cells(task, args.dataset) for task in {spec.task: None for spec in specs}}
    options = {"seed": args.seed, "accelerator": args.accelerator}
    failed = 0
    for spec in specs:
        data, inputs, where = cells[spec.task]
        print(f"{spec.id}, {where}", flush=True)
        failed += _check(spec, SUBJECTS[spec.task](spec, data, inputs, **options))
    return 1 if failed else 0


def _cells(task: str, dataset: str | None) -> tuple[Any, Inputs, str]:
    """Return the training cells of a task, what is to be predicted, and both in words."""
    if task == "latent_shift":
        data, inputs = predictor_contract_data() if dataset is None else _perturbed(dataset)
        n_train, where = len(data.ctrl_emb), "drawn" if dataset is None else f"of {dataset}"
        return data, inputs, f"{n_train} training and {len(inputs)} test cells {where}"
    from reconeval.datasets import load_dataset, make_split

    loaded = load_dataset(dataset or "pbmc68k")
    make = contract_data if task == "end_to_end" else decoder_contract_data
    cells, inputs = make(loaded, make_split(loaded, "iid"))
    return cells, inputs, f"{len(cells.X)} training and {len(inputs)} test cells of {loaded.name}"


def _perturbed(name: str) -> tuple[ShiftData, Inputs]:
    from reconeval.cases import LatentShiftCase
    from reconeval.datasets import load_perturbation_dataset, make_perturbation_split

    dataset = load_perturbation_dataset(name)
    split = make_perturbation_split(dataset, "iid")
    case = LatentShiftCase(dataset.for_split(split), split)
    return few_cells(case.data, case.test_input())


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
