"""Ctrl-C and SIGTERM end what is under way, also where a library catches them."""

import os
import signal
import threading
import warnings

import numpy as np
import pytest

from reconeval.calls import call_model
from reconeval.cli import main
from reconeval.interrupts import interrupted_by_sigterm, kept_interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers():
    """Python's own handlers, whatever the tests run under, and nothing left of what a test did."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    left = [signal.getsignal(number) for number in SIGNALS]
    for number, handler in before.items():
        signal.signal(number, handler)
    assert left == [signal.default_int_handler, signal.SIG_DFL]


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def leaves():
    try:
        press_ctrl_c()
    except KeyboardInterrupt:
        raise SystemExit(1)  # as Lightning does


def breaks_while_it_tidies_up():
    try:
        press_ctrl_c()
    finally:
        raise ValueError("no such file")


def goes_on():
    try:
        press_ctrl_c()
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=1)


def ignores_the_next():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class TestKeptInterrupts:
    @pytest.mark.filterwarnings("ignore:Training interrupted")
    @pytest.mark.parametrize("model", [leaves, breaks_while_it_tidies_up, goes_on, press_ctrl_c])
    def test_ctrl_c_is_no_fault_of_the_model(self, model):
        with pytest.raises(KeyboardInterrupt):
            call_model("training Foo", model)

    def test_calls_within_calls_lose_no_interrupt(self):
        with pytest.raises(KeyboardInterrupt):
            call_model("outer", lambda: call_model("inner", leaves))

    def test_a_real_training_of_lightning_stops(self, monkeypatch):
        from reconeval import InMemoryDataModule
        from reconeval.models import ReconAE
        from reconeval.models.autoencoder import Autoencoder

        monkeypatch.setattr(Autoencoder, "training_step", lambda *_: press_ctrl_c())
        data = InMemoryDataModule(np.ones((40, 6), np.float32))
        model = ReconAE(6, n_latent=2)
        with pytest.raises(SystemExit):
            model.train(data, max_epochs=1, accelerator="cpu")
        with pytest.raises(KeyboardInterrupt):
            call_model("training ReconAE", model.train, data, max_epochs=1, accelerator="cpu")

    def test_an_interrupted_perceptron_is_no_finished_training(self, monkeypatch):
        from sklearn.neural_network import MLPRegressor

        one_pass = MLPRegressor._backprop

        def interrupted(*args):
            press_ctrl_c()
            return one_pass(*args)

        monkeypatch.setattr(MLPRegressor, "_backprop", interrupted)
        X = np.ones((20, 3))
        with (
            pytest.warns(UserWarning, match="interrupted by user"),
            pytest.raises(KeyboardInterrupt),
        ):
            call_model("training MLP", MLPRegressor(hidden_layer_sizes=(4,), max_iter=5).fit, X, X)

    def test_handlers_of_a_model_do_not_stay(self):
        call_model("training Foo", ignores_the_next)
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()

    def test_a_handler_that_interrupts_nothing_is_left_to_it(self):
        seen = []
        signal.signal(signal.SIGTERM, lambda *_: seen.append("asked"))
        with kept_interrupts():
            signal.raise_signal(signal.SIGTERM)
        assert seen == ["asked"]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def test_other_threads_call_models_as_well(self):
        found = []
        thread = threading.Thread(target=lambda: found.append(call_model("f", lambda: 3)))
        thread.start()
        thread.join()
        assert found == [3]


class TestInterruptedBySigterm:
    def test_sigterm_ends_a_training_like_ctrl_c_and_says_its_name(self):
        def goes_on():
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                return

        with interrupted_by_sigterm(), pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            call_model("training Foo", goes_on)

    def test_a_handler_of_somebody_else_stays(self):
        seen = []

        def theirs(*_):
            seen.append("theirs")

        signal.signal(signal.SIGTERM, theirs)
        with interrupted_by_sigterm():
            signal.raise_signal(signal.SIGTERM)
        assert seen == ["theirs"]
        assert signal.getsignal(signal.SIGTERM) is theirs
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def test_nothing_changes_outside_the_main_thread(self):
        found = []

        def look():
            with interrupted_by_sigterm():
                found.append(signal.getsignal(signal.SIGTERM))

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert found == [signal.SIG_DFL]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_forked_process_ends_by_it_as_usual(self):
        with interrupted_by_sigterm(), kept_interrupts():
            child = os.fork()
            if not child:
                try:
                    signal.raise_signal(signal.SIGTERM)
                finally:
                    os._exit(7)  # an exception came instead
            _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGTERM


@pytest.mark.parametrize("number", SIGNALS)
def test_a_check_that_is_interrupted_says_so_and_checks_nothing_more(
    number, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaver.py").write_text(
        "import signal\n"
        "class Leaver:\n"
        "    def train(self, X):\n"
        "        try:\n"
        f"            signal.raise_signal({int(number)})\n"
        "        except KeyboardInterrupt:\n"
        "            raise SystemExit(1)\n"
        "    def predict(self, X):\n"
        "        return X\n"
    )
    assert main(["check", "leaver:Leaver"]) == 130
    captured = capsys.readouterr()
    assert captured.err == "reconeval check: interrupted\n"
    assert captured.out.splitlines()[-1].startswith("  ✗ untrained ")
