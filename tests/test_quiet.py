from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import pytest

from reconeval.quiet import quiet

CHATTY = ["lightning.pytorch", "lightning.fabric", "pytorch_lightning", "scvi", "jax", "absl"]


@pytest.mark.parametrize("name", CHATTY)
def test_messages_are_dropped_and_errors_pass(name, caplog):
    logger = logging.getLogger(name)
    logger.propagate, kept = True, logger.propagate
    try:
        with caplog.at_level(logging.INFO, logger=name):
            with quiet():
                logger.info("chatter")
                logger.warning("chatter")
                logger.error("trouble")
            logger.info("afterwards")
    finally:
        logger.propagate = kept
    # Once each: pytest also listens at loggers that did not propagate when the test began.
    assert list(dict.fromkeys(caplog.messages)) == ["trouble", "afterwards"]


def test_levels_and_filters_are_restored_even_after_an_error():
    logger = logging.getLogger("scvi")
    before = logger.level
    filters = list(warnings.filters)
    logger.setLevel(logging.DEBUG)
    try:
        with pytest.raises(KeyError, match="mine"), quiet():
            raise KeyError("mine")
        assert logger.level == logging.DEBUG
        assert list(warnings.filters) == filters
    finally:
        logger.setLevel(before)


def test_the_models_own_output_passes(capsys, caplog, recwarn):
    with quiet():
        print("epoch 1")
        logging.getLogger("mymodel").warning("mine")
        warnings.warn("my warning", UserWarning, stacklevel=1)
    assert capsys.readouterr().out == "epoch 1\n"
    assert caplog.messages == ["mine"]
    assert [str(w.message) for w in recwarn] == ["my warning"]


@pytest.mark.parametrize("verbose", [False, True])
def test_warnings_of_the_libraries_pass_only_when_verbose(verbose):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with quiet(verbose):
            for module in ("lightning.pytorch.trainer", "scvi", "jax.numpy"):
                warnings.warn_explicit("chatter", UserWarning, "file.py", 1, module=module)
            warnings.warn("The 'train_dataloader' does not have many workers", stacklevel=1)
            warnings.warn_explicit("kept", UserWarning, "file.py", 1, module="lightningrod")
    assert [str(w.message) for w in seen].count("kept") == 1
    assert len(seen) == (5 if verbose else 1)


def test_nothing_is_imported_and_an_import_inside_stays_quiet():
    code = """
import sys
from reconeval.quiet import quiet
with quiet():
    assert not {"lightning", "torch", "scvi", "jax"} & set(sys.modules)
    import lightning as L
    L.seed_everything(0)
    L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
print("loud again", flush=True)
L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "loud again\n"
    assert "GPU available" in done.stderr
    assert done.stderr.count("GPU available") == 1
    assert "Seed set" not in done.stderr
