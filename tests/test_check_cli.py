"""`reconeval check` from the shell's side."""

import pytest

from reconeval.cli import main
from reconeval.contract import check_names
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_sound_model_passes_on_real_cells(capsys):
    assert main(["check", "models:ReconPCA"]) == 0
    out = lines(capsys)
    assert out[0] == "ReconPCA, 256 training and 64 test cells of pbmc68k"
    assert [line.split()[1] for line in out[1:-2]] == list(check_names())
    assert {line.split()[0] for line in out[1:-2]} <= {"✓", "-"}
    assert out[-2] == f"ReconPCA: 0 of {len(check_names())} checks failed"


def test_a_broken_model_fails_with_one_line_for_each_rule(capsys):
    assert main(["check", "tests.broken_models:KnowsPlace"]) == 1
    failed = [line for line in lines(capsys) if line.startswith("  ✗")]
    assert [line.split()[1] for line in failed] == ["batch_composition", "cell_order"]
    assert "the rule: Predict a cell the same" in failed[0]


def test_an_error_that_repeats_is_shown_once(capsys):
    assert main(["check", "tests.broken_models:TrainRaises"]) == 1
    out = capsys.readouterr().out
    assert out.count("learning rate is negative") == 1
    # all but signatures, untrained and training itself
    assert out.count(" as above: training failed\n") == len(check_names()) - 3
    assert " as above\n" not in out


def test_a_prediction_that_fails_alike_is_shown_once(capsys):
    assert main(["check", "tests.broken_models:PredictsNothing"]) == 1
    out = capsys.readouterr().out
    assert out.count("(64 cells, float32) returned None, expected a floating numpy array") == 1
    assert out.count(" as above\n") > 3


def test_several_models_and_declared_exceptions(capsys):
    models = ["tests.broken_models:Sound", "tests.broken_models:KnownAccident"]
    assert main(["check", *models]) == 0
    out = lines(capsys)
    assert any(line.startswith("  ! untrained") for line in out)
    assert any("declared exception no longer needed, remove it: old" in line for line in out)
    assert any(line.startswith("Sound, ") for line in out)


@pytest.mark.parametrize(
    ("model", "task", "cells"),
    [
        ("SoundPredictor", "latent_shift", "60 training and 30 test cells drawn"),
        ("SoundDecoder", "decode", "256 training and 64 test cells of pbmc68k"),
    ],
)
def test_a_task_has_cells_and_checks_of_its_own(capsys, model, task, cells):
    assert main(["check", f"tests.broken_by_task:{model}"]) == 0
    out = lines(capsys)
    assert out[0] == f"{model}, {cells}"
    assert [line.split()[1] for line in out[1:-2]] == list(check_names(task))


def test_a_predictor_is_checked_on_perturbed_cells_by_name(capsys):
    models = ["models:AdditiveShift", "models:NoShift"]
    assert main(["check", *models, "--dataset", "latent_synthetic"]) == 0
    out = lines(capsys)
    assert out[0] == "AdditiveShift, 60 training and 60 test cells of latent_synthetic"
    assert sum(line.startswith("  ! descriptor_matters") for line in out) == 1  # NoShift's


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["models:NoShift", "--dataset", "pbmc68k"], "datasets: latent_synthetic, "),
        (["tests.broken_by_task:Mapper"], "there is no contract of query_mapping models"),
        (["models:ReconPCB"], "models:ReconPCB: reconeval.models has no 'ReconPCB'; did you mean"),
        (["models:ReconPCA?n=3"], "ReconPCA() takes no 'n'"),
        (["models:ReconPCA", "--dataset", "nowhere"], "dataset nowhere: neither a frozen dataset"),
        (["models:ReconPCA", "--seed", "-1"], "--seed -1: expected a number from 0 to 2**32 - 1"),
        (["models:ReconPCA", "--counts-layer", "X"], "are for your own file"),
    ],
)
def test_bad_use_is_one_line_and_exit_code_4(capsys, arguments, part):
    assert main(["check", *arguments]) == 4
    captured = capsys.readouterr()
    assert captured.err.startswith("reconeval check: ")
    assert part in captured.err
    assert len(captured.err.splitlines()) == 1


def test_no_model_is_bad_use(capsys):
    assert main(["check"]) == 4
    assert "MODEL" in capsys.readouterr().err
