"""The shell command: help on request, one line and exit code 4 for bad usage."""

import pytest

from reconeval import __version__
from reconeval.cli import main


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"reconeval {__version__}"


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "check" in text
    assert "datasets" in text


@pytest.mark.parametrize(
    "argv", [[], ["nope"], ["datasets"], ["datasets", "describe"], ["datasets", "x"], ["check"]]
)
def test_bad_usage_is_one_line(argv, capsys):
    assert main(argv) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "--help" in err


def test_an_unknown_dataset_is_one_line(capsys):
    assert main(["datasets", "describe", "imune"]) == 4
    assert capsys.readouterr().err.count("\n") == 1
