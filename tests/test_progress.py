"""A progress line on a terminal alone: what trains, which epoch, and gone afterwards."""

import copy
import fcntl
import os
import pickle
import pty
import re
import struct
import subprocess
import sys
import termios
from importlib.metadata import entry_points

import pytest

from reconeval.report.epochs import (
    epochs_told_to,
    lightning_callbacks,
    pytorch_lightning_callbacks,
)
from reconeval.report.progress import _is_quiet

MODEL = """
import numpy as np
import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset


class Net(LightningModule):
    def __init__(self, width):
        super().__init__()
        self.layer = torch.nn.Linear(width, width)

    def training_step(self, batch, _):
        return (self.layer(batch[0]) - batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Small:
    def train(self, X):
        self.net = Net(X.shape[1])
        trainer = Trainer(
            max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )
        trainer.fit(self.net, DataLoader(TensorDataset(torch.tensor(X[:64])), batch_size=64))

    def predict(self, X):
        return np.array(X)
"""
COMMAND = ["-m", "pytest", "--pyargs", "reconeval.benchmarks", "--model", "small:Small"]
COMMAND += ["--dataset", "pbmc68k", "--split", "iid", "--metrics", "r2", "-k", "r2"]
COMMAND += ["-p", "no:cacheprovider"]


def on_a_terminal(folder, columns=100, **environment):
    """Run the benchmarks on a terminal of their own, and return what it got."""
    (folder / "small.py").write_text(MODEL)
    reading, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    inherited = {name: text for name, text in os.environ.items() if name not in {"CI", "COLUMNS"}}
    process = subprocess.Popen(
        [sys.executable, *COMMAND],
        cwd=folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**inherited, "TERM": "xterm", "RECONEVAL_CACHE": str(folder / "cache"), **environment},
    )
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(reading, 65536):
            shown += chunk
    except OSError:  # how Linux says that the terminal was closed
        pass
    os.close(reading)
    assert process.wait(60) == 0, shown.decode(errors="replace")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def test_a_terminal_shows_model_place_and_epoch_in_one_line(tmp_path):
    shown = on_a_terminal(tmp_path, columns=64)
    lines = [line for line in re.split(r"[\r\n]", shown) if "epoch" in line]
    assert re.search(r"0/1 0:00:\d\d training Small on pbmc68k.*…, epoch \d/4", lines[0])
    assert all(len(line) <= 64 for line in lines)


def test_ci_gets_no_line(tmp_path):
    shown = on_a_terminal(tmp_path, CI="true")
    assert "1 passed" in shown
    assert "training Small" not in shown


@pytest.mark.parametrize(
    ("environment", "quiet"),
    [
        ({"CI": "1"}, True),
        ({"CI": "false", "TERM": "xterm"}, False),
        ({"CI": "", "TERM": "dumb"}, True),
        ({"CI": "", "TERM": "xterm"}, False),
    ],
)
def test_where_it_keeps_quiet(monkeypatch, environment, quiet):
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert _is_quiet() is quiet


class TestEpochs:
    @pytest.mark.parametrize(
        ("group", "made"),
        [
            ("lightning.pytorch.callbacks_factory", lightning_callbacks),
            ("pytorch_lightning.callbacks_factory", pytorch_lightning_callbacks),
        ],
    )
    def test_lightning_finds_the_factory(self, group, made):
        found = [one.load() for one in entry_points(group=group) if one.module.startswith("recon")]
        assert found == [made]

    def test_nobody_listens_nothing_is_added(self):
        assert lightning_callbacks() == []
        assert pytorch_lightning_callbacks() == []

    def test_every_epoch_is_told_once_and_only_inside(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        names: dict = {}
        exec(MODEL, names)
        import numpy as np

        cells = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
        told = []
        with epochs_told_to(lambda number, last: told.append((number, last))):
            names["Small"]().train(cells)
        names["Small"]().train(cells)
        assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def test_a_trainer_can_still_be_copied_and_pickled(self):
        with epochs_told_to(lambda *_: None):
            (callback,) = lightning_callbacks()
        for copied in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
            assert copied.on_train_epoch_start is not None
            assert type(copied).__mro__[1] is type(callback).__mro__[1]
