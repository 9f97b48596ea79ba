"""Arguments are filled by name; what is offered is what the docs say."""

import inspect

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval.errors import UsageError
from reconeval.filling import Offer, check_keywords, fill, hint, plan
from reconeval.offers import (
    CONSTRUCTOR_OFFERS,
    TRAIN_OFFERS,
    TrainingData,
    constructor_offers,
    train_offers,
    training_data,
)

OFFERS = {name: Offer(lambda name=name: f"offered {name}") for name in ("X", "counts", "seed")}
OFFERS["max_epochs"] = Offer(lambda: 100, only_if_required=True)


def filled(call, lone="X", **user):
    args, kwargs = fill(call, OFFERS, user, where="Foo.train()", lone=lone)
    return inspect.signature(call).bind(*args, **kwargs).arguments


class TestFill:
    """Each rule of filling, one after the other."""

    def test_by_name(self):
        assert filled(lambda X, seed: 0) == {"X": "offered X", "seed": "offered seed"}

    def test_the_user_wins(self):
        assert filled(lambda X, seed: 0, seed=3) == {"X": "offered X", "seed": 3}

    def test_an_offer_takes_the_place_of_a_default(self):
        assert filled(lambda X, seed=None: 0)["seed"] == "offered seed"

    def test_unless_it_is_for_required_arguments_only(self):
        assert "max_epochs" not in filled(lambda X, max_epochs=10: 0)
        assert filled(lambda X, max_epochs: 0)["max_epochs"] == 100
        assert filled(lambda X, max_epochs=10: 0, max_epochs=3)["max_epochs"] == 3

    def test_other_defaults_are_left_alone(self):
        assert filled(lambda X, rate=0.1: 0) == {"X": "offered X"}

    @pytest.mark.parametrize(
        "call",
        [lambda data: 0, lambda data, /: 0, lambda data, *, seed: 0, lambda data, seed=3: 0],
        ids=["alone", "positional-only", "beside-a-keyword", "beside-a-default"],
    )
    def test_a_lone_positional_argument_of_another_name_gets_X(self, call):
        assert filled(call)["data"] == "offered X"

    def test_a_reserved_name_is_never_the_lone_one(self):
        with pytest.raises(UsageError, match="needs 'obs'"):
            fill(lambda obs: 0, OFFERS, {}, where="train()", lone="X", reserved=["obs"])

    def test_star_args_alone_get_X(self):
        assert filled(lambda *args: 0) == {"args": ("offered X",)}
        assert filled(lambda *data, seed: 0) == {"data": ("offered X",), "seed": "offered seed"}
        assert filled(lambda X, *args: 0) == {"X": "offered X"}

    def test_star_kwargs_get_only_what_the_user_wrote(self):
        assert filled(lambda X, **kwargs: 0) == {"X": "offered X"}
        assert filled(lambda X, **kwargs: 0, rate=1)["kwargs"] == {"rate": 1}

    def test_positional_only_arguments_keep_their_places(self):
        assert filled(lambda a=1, X=2, /: 0) == {"a": 1, "X": "offered X"}
        assert filled(lambda a=1, X=2, /: 0, a=5) == {"a": 5, "X": "offered X"}

    def test_nothing_is_asked_of_a_call_without_arguments(self):
        assert filled(lambda: 0) == {}

    def test_only_what_is_taken_is_made(self):
        made = []
        offers = {name: Offer(lambda name=name: made.append(name)) for name in ("X", "datamodule")}
        fill(lambda X: 0, offers, {}, where="train()")
        assert made == ["X"]

    @pytest.mark.parametrize(
        ("call", "named"),
        [
            (lambda X, labels: 0, "'labels'"),
            (lambda first, second: 0, "'first' and 'second'"),
            (lambda labels, X: 0, "'labels'"),
            (lambda *, labels: 0, "'labels'"),
        ],
        ids=["after-X", "two", "before-X", "keyword-only"],
    )
    def test_a_required_name_that_nothing_offers_is_refused(self, call, named):
        with pytest.raises(UsageError) as caught:
            filled(call)
        assert f"Foo.train() needs {named}, which nothing offers" in str(caught.value)
        assert "(on offer: X, counts, max_epochs, seed)" in str(caught.value)

    def test_a_constructor_has_no_lone_argument(self):
        with pytest.raises(UsageError, match="needs 'size'"):
            filled(lambda size: 0, lone=None)

    def test_a_name_that_the_call_does_not_take_is_refused(self):
        with pytest.raises(UsageError) as caught:
            filled(lambda X, max_epochs=1: 0, max_epoch=3)
        expected = "takes no 'max_epoch'; did you mean max_epochs? (takes X, max_epochs)"
        assert str(caught.value) == f"Foo.train() {expected}"

    def test_a_signature_that_cannot_be_read_gets_what_the_user_wrote(self):
        assert fill(dict, OFFERS, {"a": 1}, where="dict()") == ((), {"a": 1})
        check_keywords(None, ["anything"], where="dict()")

    def test_the_message_without_a_near_name(self):
        assert hint("qqq", ["a", "b"], "takes") == " (takes a, b)"
        assert hint("qqq", []) == " (has nothing)"
        assert hint("qqq", map(str, range(20))).endswith("15, 4 more)")


@given(
    names=st.lists(st.sampled_from("abcdeX"), unique=True, min_size=1),
    offered=st.sets(st.sampled_from("abcdeX")),
    user=st.dictionaries(st.sampled_from("abcdeX"), st.integers()),
    data=st.data(),
)
def test_every_parameter_gets_the_users_value_else_the_offer_else_its_default(
    names, offered, user, data
):
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [
        inspect.Parameter(name, data.draw(st.sampled_from(kinds)), default=f"default {name}")
        for name in names
    ]
    parameters.sort(key=lambda p: p.kind)

    def call(**kwargs):
        return kwargs

    call.__signature__ = inspect.Signature(parameters)
    offers = {name: Offer(lambda name=name: f"offer {name}") for name in offered}
    if set(user) - set(names):
        with pytest.raises(UsageError, match="takes no"):
            fill(call, offers, user, where="call()")
        return
    args, kwargs = fill(call, offers, user, where="call()", lone=None)
    assert args == ()
    expected = {name: f"offer {name}" for name in offered if name in names} | user
    assert kwargs == expected
    chosen = plan(parameters, offered, user, where="call()")
    assert chosen == {name: name for name in names if name in offered and name not in user}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.random((7, 3), dtype=np.float32)
    obs = pd.DataFrame({"kind": list("abcabca")}, index=[f"c{i}" for i in range(7)])
    return TrainingData(X=X, val_X=X[:2], genes=("g1", "g2", "g3"), counts=X.round(), obs=obs)


class TestOffers:
    """What constructors and `train` can ask for."""

    def test_constructor(self):
        offers = constructor_offers(n_genes=5, seed=3)
        values = {name: offer.make() for name, offer in offers.items()}
        sizes = {"input_dim": 5, "n_input": 5, "n_genes": 5}
        assert values == {**sizes, "seed": 3, "random_state": 3}
        assert tuple(offers) == CONSTRUCTOR_OFFERS

    def test_train_offers_what_is_declared(self, data):
        assert set(train_offers(data, seed=0)) == set(TRAIN_OFFERS)

    def test_what_the_data_lack_is_not_offered(self):
        offers = train_offers(TrainingData(X=np.ones((2, 2)), genes=("a", "b")), seed=0)
        assert set(TRAIN_OFFERS) - set(offers) == {"val_X", "counts", "obs"}

    def test_values(self, data):
        offers = train_offers(data, seed=4, accelerator="gpu", progress=True)
        values = {name: offers[name].make() for name in TRAIN_OFFERS if name != "datamodule"}
        assert values["seed"] == values["random_state"] == 4
        assert values["accelerator"] == "gpu"
        assert values["enable_progress_bar"] is True
        assert values["logger"] is False
        assert offers["max_epochs"].only_if_required
        np.testing.assert_array_equal(values["X"], data.X)
        np.testing.assert_array_equal(values["val_X"], data.val_X)
        np.testing.assert_array_equal(values["counts"], data.counts)

    def test_arrays_are_fresh_for_every_call(self, data):
        offers, before = train_offers(data, seed=0), data.X.copy()
        for name in ("X", "val_X", "counts"):
            first = offers[name].make()
            first += 1
            assert not np.array_equal(first, offers[name].make())
        offers["adata"].make().X[:] = -1
        offers["obs"].make()["kind"] = "z"
        np.testing.assert_array_equal(data.X, before)
        assert offers["obs"].make()["kind"].tolist() == list("abcabca")

    def test_adata_holds_the_training_cells(self, data):
        adata = train_offers(data, seed=0)["adata"].make()
        np.testing.assert_array_equal(adata.X, data.X)
        np.testing.assert_array_equal(adata.layers["counts"], data.counts)
        assert list(adata.var_names) == ["g1", "g2", "g3"]
        assert list(adata.obs["kind"]) == list("abcabca")

    def test_datamodule_has_the_training_and_validation_cells(self, data):
        module = train_offers(data, seed=0)["datamodule"].make()
        train = np.concatenate([batch["X"].numpy() for batch in module.train_dataloader()])
        val = np.concatenate([batch["X"].numpy() for batch in module.val_dataloader()])
        np.testing.assert_array_equal(np.sort(train, axis=0), np.sort(data.X, axis=0))
        np.testing.assert_array_equal(val, data.val_X)


def test_training_data_are_the_cells_of_the_split():
    from anndata import AnnData

    from reconeval.datasets import Dataset, Split

    X = np.arange(40, dtype=np.float32).reshape(10, 4)
    obs = pd.DataFrame({"total_counts": X.sum(1)}, index=[f"c{i}" for i in range(10)])
    adata = AnnData(X, obs=obs, layers={"counts": X.copy()})
    dataset = Dataset("mine", "1", "0" * 64, adata)
    train, val, test = np.array([7, 1, 3]), np.array([0]), np.array([2])
    data = training_data(dataset, Split("iid", train, val, test))
    np.testing.assert_array_equal(data.X, X[[7, 1, 3]])
    np.testing.assert_array_equal(data.val_X, X[[0]])
    np.testing.assert_array_equal(data.counts, X[[7, 1, 3]])
    np.testing.assert_array_equal(data.val_counts, X[[0]])
    assert list(data.obs.index) == ["c7", "c1", "c3"]
    assert list(data.val_obs.index) == ["c0"]
    without = training_data(dataset, Split("iid", train, np.array([], dtype=int), test))
    assert without.val_X is without.val_counts is without.val_obs is None
