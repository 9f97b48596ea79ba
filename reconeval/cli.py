"""The `reconeval` command: one subcommand per job, each imported when it is called."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from reconeval import __version__
from reconeval.errors import ReconevalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

# name -> (module with add_arguments(parser) and run(args) -> exit code, help)
_COMMANDS = {
    "cache": ("reconeval.cache.cli", "show or clear what finished runs have kept"),
    "check": ("reconeval.check", "check a model against the contract"),
    "compare": ("reconeval.compare", "compare saved runs, the worst regressions first"),
    "datasets": ("reconeval.datasets.cli", "list, verify, describe or fetch datasets"),
    "health": ("reconeval.health", "show which metrics can tell a good model from a constant"),
    "merge": ("reconeval.merge", "merge the results of runs that were split"),
    "report": ("reconeval.report.html.cli", "write saved runs as one page to look at"),
    "score": ("reconeval.score", "score predicted cells in a file against measured ones"),
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; exit code 4."""
        self.exit(4, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0 ok, 1 a failed check, 4 bad usage, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(
        prog="reconeval",
        description="Benchmark models that reconstruct single-cell gene expression.",
        epilog="The main job runs under pytest: pytest benchmarks --model mypkg:MyModel",
    )
    parser.add_argument("--version", action="version", version=f"reconeval {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, text) in _COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name in argv:  # the parts of the other commands stay unloaded
            import_module(module).add_arguments(sub)
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return int(import_module(_COMMANDS[args.command][0]).run(args))
    except UsageError as error:
        print(f"reconeval {args.command}: {error}", file=sys.stderr)
        return 4
    except ReconevalError as error:
        print(f"reconeval {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"reconeval {args.command}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
