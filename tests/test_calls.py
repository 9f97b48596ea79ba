"""Failures of a stranger's model become one line each."""

import gc
from fnmatch import fnmatchcase

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval.calls import NothingRan, call_model, checked_prediction, describe, one_line
from reconeval.errors import ModelError, UsageError


def raises(error):
    raise error


async def waits():
    raise AssertionError


async def waits_and_yields():
    yield 1


def yields():
    yield 1


class TestCallModel:
    """`call_model` passes results and wraps errors."""

    def test_returns_what_the_function_returns(self):
        assert call_model("f", lambda a, b: a - b, 5, b=3) == 2

    @pytest.mark.parametrize("error", [ValueError("bad\n  rate"), SystemExit("bad rate")])
    def test_wraps_any_error_in_one_line_with_the_place(self, error):
        with pytest.raises(ModelError) as caught:
            call_model("Foo.train on immune/iid, seed 0", raises, error)
        name = type(error).__name__
        line = raises.__code__.co_firstlineno + 1
        expected = f"raised {name}: bad rate (at test_calls.py:{line})"
        assert str(caught.value) == f"Foo.train on immune/iid, seed 0 {expected}"
        assert caught.value.__cause__ is error

    def test_names_the_users_line_and_not_the_librarys(self):
        with pytest.raises(ModelError) as caught:
            call_model("f", lambda: np.ones((2, 2)).reshape(3))
        assert "(at test_calls.py:" in str(caught.value)
        with pytest.raises(ModelError) as caught:
            call_model("f", np.linalg.inv, np.zeros((2, 2)))
        assert "(at _linalg.py:" in str(caught.value)

    def test_errors_of_our_own_pass(self):
        with pytest.raises(UsageError, match=r"^as it is$"):
            call_model("f", raises, UsageError("as it is"))

    def test_an_interrupt_passes(self):
        with pytest.raises(KeyboardInterrupt):
            call_model("f", raises, KeyboardInterrupt())

    @pytest.mark.filterwarnings("error")  # as that a coroutine was never awaited
    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (waits, "a coroutine, of which nothing has run: write `def` instead of `async def`"),
            (waits_and_yields, "an async_generator, of which nothing has run: write `def` *"),
            (yields, "a generator, of which nothing has run: take out the `yield`, *"),
        ],
    )
    def test_what_has_not_run_is_refused(self, function, message):
        with pytest.raises(NothingRan) as caught:
            call_model("Foo.train on immune/iid, seed 0", function)
        assert fnmatchcase(str(caught.value), f"Foo.train on immune/iid, seed 0 returned {message}")
        gc.collect()

    @given(st.text())
    def test_messages_are_one_short_line(self, text):
        line = one_line(text)
        assert len(line.splitlines()) <= 1
        assert len(line) <= 300

    def test_an_error_without_text(self):
        assert describe(ValueError()) == "ValueError"


class TestCheckedPrediction:
    """Only finite floating arrays of the right shape pass."""

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_returns_a_copy_of_a_good_array(self, dtype):
        buffer = np.ones((3, 2), dtype)
        kept = checked_prediction(buffer, (3, 2), "Foo.predict")
        buffer[:] = 7  # what a model with one buffer does at its next call
        assert kept.dtype == dtype
        np.testing.assert_array_equal(kept, np.ones((3, 2)))

    @pytest.mark.parametrize(
        ("raw", "got"),
        [
            (None, "returned None"),
            ([[1.0]], "a list"),
            ((row for row in ()), "a generator"),
            (np.matrix([[1.0]]), "a numpy matrix"),
            (1.0, "a float"),
            (np.ones(3), "shape (3,)"),
            (np.ones((3, 3)), "shape (3, 3)"),
            (np.ones((3, 2), int), "dtype int64"),
            (np.ones((3, 2), bool), "dtype bool"),
            (np.ones((3, 2), object), "dtype object"),
            (np.ones((3, 2), complex), "dtype complex128"),
            (np.full((3, 2), np.inf), "6 NaN or infinite of 6 values, the first (inf) for cell 0"),
        ],
    )
    def test_refuses_anything_else_in_words(self, raw, got):
        with pytest.raises(ModelError) as caught:
            checked_prediction(raw, (3, 2), "Foo.predict on immune/iid")
        message = str(caught.value)
        assert message.startswith("Foo.predict on immune/iid returned ")
        assert got in message
        assert "expected" in message
        assert "\n" not in message
