"""Models are named, imported and checked without being built."""

import functools
import subprocess
import sys
import textwrap
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval._settings import parse_settings, settings_id
from reconeval.errors import UsageError
from reconeval.filling import Offer
from reconeval.offers import constructor_offers
from reconeval.protocols import PerturbationPredictor, ReconstructionModel, task_of
from reconeval.spec import parse_models

SOURCE = """
    import functools

    class Mine:
        def __init__(self, input_dim, n_hidden=(8,), rate=0.1, name="x"):
            raise AssertionError("built while it was only to be read")
        def train(self, X, max_epochs=10): ...
        def predict(self, X): return X

    class Outer:
        class Inner:
            def train(self, datamodule): ...
            def predict(self, X): return X

    class Shift:
        def train(self, ctrl_emb, pert_emb, pert_cov, **kwargs): ...
        def predict(self, ctrl_emb, pert_cov): return ctrl_emb

    class Greedy:
        def __init__(self, size): ...
        def train(self, X, labels): ...
        def predict(self, X): return X

    class Open:
        def __init__(self, **kwargs): self.kwargs = kwargs
        def train(self, *args, **kwargs): self.args, self.settings = args, kwargs
        def predict(self, X): return X

    class Lax:
        def train(self, X): ...
        def predict(self, *X): return X

    class Half:
        def predict(self, X): return X

    def make(rate=0.5) -> Open: return Open(rate=rate)
    def tacit(rate=0.5): return Open(rate=rate)
    part = functools.partial(Open, rate=0.7)
    ready = Open()
"""
NUMBER = count()


@pytest.fixture
def mine(tmp_path):
    """A folder with a module of its own name, since modules stay imported."""
    name = f"mine{next(NUMBER)}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(SOURCE))
    return name


@pytest.fixture
def parse(tmp_path):
    return lambda *texts: parse_models(texts, folder=tmp_path)


def message(parse, *texts):
    with pytest.raises(UsageError) as caught:
        parse(*texts)
    text = str(caught.value)
    assert "\n" not in text
    return text


class TestForms:
    """What can be written after `--model`."""

    def test_module_and_class(self, parse, mine):
        (spec,) = parse(f"{mine}:Mine")
        assert (spec.id, spec.key) == ("Mine", f"{mine}:Mine")
        assert (spec.source, spec.target) == (f"{mine}:Mine", f"{mine}:Mine")
        assert (spec.task, spec.kwargs, spec.train_kwargs) == ("end_to_end", {}, {})

    def test_settings(self, parse, mine):
        (spec,) = parse(f"{mine}:Mine?rate=1e-3&n_hidden=[128,64],name=relu&train.max_epochs=5")
        assert spec.kwargs == {"rate": 1e-3, "n_hidden": [128, 64], "name": "relu"}
        assert spec.train_kwargs == {"max_epochs": 5}
        assert spec.id == "Mine+n_hidden:128-64+name:relu+rate:0.001+train.max_epochs:5"

    def test_the_order_of_settings_does_not_matter(self, parse, mine):
        (first,), (second,) = (
            parse(f"{mine}:Mine?{text}") for text in ("rate=1&name=a", "name=a&rate=1")
        )
        assert first.id == second.id
        assert first.key == second.key

    def test_alias(self, parse, mine):
        (spec,) = parse(f"small={mine}:Mine?rate=1")
        assert spec.id == "small"
        assert spec.key == f"{mine}:Mine+rate:1"

    def test_nested_class(self, parse, mine):
        (spec,) = parse(f"{mine}:Outer.Inner")
        assert spec.id == "Outer.Inner"
        assert spec.factory.__qualname__ == "Outer.Inner"

    def test_file(self, parse, mine, tmp_path):
        (tmp_path / "sub").mkdir()
        (tmp_path / f"{mine}.py").rename(tmp_path / "sub" / f"{mine}.py")
        (spec,) = parse(f"sub/{mine}.py:Mine")
        assert spec.id == "Mine"
        (absolute,) = parse(f"{tmp_path}/sub/{mine}.py:Mine")
        assert absolute.factory is spec.factory

    def test_a_file_called_like_a_loaded_module_does_not_replace_it(self, parse, mine, tmp_path):
        (tmp_path / f"{mine}.py").rename(tmp_path / "functools.py")
        (spec,) = parse(f"{tmp_path}/functools.py:Mine")
        assert spec.id == "Mine"
        assert sys.modules["functools"] is functools

    def test_factories(self, parse, mine):
        made, part = parse(f"{mine}:make?rate=1", f"{mine}:part")
        assert made.build({}).kwargs == {"rate": 1}
        assert part.build({}).kwargs == {"rate": 0.7}

    def test_several_models(self, parse, mine):
        specs = parse(f"{mine}:Mine", f"{mine}:Outer.Inner", f"other={mine}:Mine")
        assert [spec.id for spec in specs] == ["Mine", "Outer.Inner", "other"]

    def test_installed_package(self, parse):
        (spec,) = parse("sklearn.decomposition:PCA?n_components=3")
        assert (spec.id, spec.task) == ("PCA+n_components:3", "end_to_end")


class TestModelsFile:
    """Tables of a TOML file are aliases."""

    TEXT = """
        [wide]
        target = "{mine}:Mine"
        kwargs = {{ n_hidden = [256, 128], rate = 0.5 }}
        train = {{ max_epochs = 3 }}
        exceptions = {{ one_cell = "needs neighbours" }}
        [plain]
        target = "{mine}:Open"
    """

    @pytest.fixture
    def file(self, tmp_path, mine):
        (tmp_path / "models.toml").write_text(textwrap.dedent(self.TEXT.format(mine=mine)))

    def test_all_tables(self, parse, file, mine):
        wide, plain = parse("models.toml")
        assert (wide.id, wide.source, wide.target) == ("wide", "models.toml:wide", f"{mine}:Mine")
        assert wide.kwargs == {"n_hidden": [256, 128], "rate": 0.5}
        assert wide.train_kwargs == {"max_epochs": 3}
        assert wide.exceptions == {"one_cell": "needs neighbours"}
        assert (plain.id, plain.kwargs, plain.exceptions) == ("plain", {}, {})

    def test_one_table(self, parse, file):
        (spec,) = parse("models.toml:plain")
        assert (spec.id, spec.source) == ("plain", "models.toml:plain")

    def test_a_table_named_twice_wants_another_name(self, parse, file):
        text = message(parse, "models.toml:plain", "models.toml")
        assert "has the id 'plain' of --model models.toml:plain" in text
        assert text.endswith("give the table [plain] of models.toml another name")

    def test_a_toml_file_may_be_a_setting(self, parse, mine):
        (spec,) = parse(f"{mine}:Mine?rate=x.toml")
        assert spec.kwargs == {"rate": "x.toml"}

    def test_unknown_table(self, parse, file):
        text = message(parse, "models.toml:wyde")
        assert (
            text
            == "--model models.toml:wyde: no table [wyde]; did you mean wide? (has wide, plain)"
        )

    @pytest.mark.parametrize(
        ("content", "part"),
        [
            ("", "has no models"),
            ("[a", "no valid TOML"),
            ("a = 3", "expected a table"),
            ("[a]\nkwargs = {}", "expected a table with target"),
            ('[a]\ntarget = "m:A"\nkwarg = {}', "'kwarg'; did you mean kwargs? (takes target,"),
            ("[a]\ntarget = 3", "target is 3, expected a text"),
            ('[a]\ntarget = "m:A"\ntrain = 3', "train is 3, expected a table"),
            ('[a]\ntarget = "m:A?b=1"', "write them as kwargs"),
            ('["a b"]\ntarget = "m:A"', "may hold only a-z"),
        ],
    )
    def test_what_is_wrong_with_a_file_is_said(self, parse, tmp_path, content, part):
        (tmp_path / "models.toml").write_text(content)
        assert part in message(parse, "models.toml")

    def test_missing_file(self, parse):
        assert "cannot be read (No such file or directory)" in message(parse, "nowhere.toml")

    @pytest.mark.parametrize(
        ("exceptions", "part"),
        [
            ('{ one_sell = "why" }', "unknown check 'one_sell'; did you mean one_cell?"),
            ('{ one_cell = " " }', "'one_cell' has no reason"),
        ],
    )
    def test_exceptions_name_a_check_and_a_reason(self, parse, tmp_path, mine, exceptions, part):
        (tmp_path / "models.toml").write_text(
            f'[a]\ntarget = "{mine}:Mine"\nexceptions = {exceptions}'
        )
        assert part in message(parse, "models.toml")


class TestSettings:
    """The text after the question mark."""

    values = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
        st.lists(st.integers()),
        st.tuples(st.text(), st.integers()),
        st.dictionaries(st.text(), st.integers()),
    )
    names = st.from_regex(r"(train\.)?[a-z]\w*", fullmatch=True).filter(
        lambda name: name.removeprefix("train.").isidentifier()
    )

    @given(settings=st.dictionaries(names, values), separator=st.sampled_from("&,"))
    def test_literals_are_read_back(self, settings, separator):
        text = separator.join(f"{name}={value!r}" for name, value in settings.items())
        if text:
            kwargs, train = parse_settings(text, where="")
            assert kwargs | {f"train.{name}": value for name, value in train.items()} == settings

    @given(settings=st.dictionaries(names, values))
    def test_ids_hold_only_what_k_takes(self, settings):
        shown = settings_id(settings, settings)
        allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:+-./"
        # A name may be any Python identifier; the values are what is made safe.
        names = {char for name in settings for char in name}
        assert set(shown) <= set(allowed) | names

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("relu", "relu"),
            ("true", True),
            ("False", False),
            ("none", None),
            ("1e-3", 1e-3),
            ("-1", -1),
            ("'true'", "true"),
            ("a-b.c", "a-b.c"),
            ("[1, (2, 3)]", [1, (2, 3)]),
            ("'a,b&c=d]'", "a,b&c=d]"),
            ("", ""),
        ],
    )
    def test_values(self, text, value):
        assert parse_settings(f"key={text}", where="") == ({"key": value}, {})

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("", "expected key=value, got ''"),
            ("n_latent", "expected key=value, got 'n_latent'"),
            ("=3", "expected key=value, got '=3'"),
            ("a.b=3", "expected key=value, got 'a.b=3'"),
            ("a=1,b", "put text with commas in quotes"),
            ("a=1&a=2", "'a' is given twice"),
            ("a=[1,2", "] is missing"),
            ("a='x", "' is missing"),
        ],
    )
    def test_what_is_wrong_is_said(self, text, part):
        with pytest.raises(UsageError) as caught:
            parse_settings(text, where="--model m:A")
        assert str(caught.value).startswith("--model m:A: ")
        assert part in str(caught.value)


class TestRefusals:
    """Every mistake is one line that begins with what the user typed."""

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("{mine}", "expected MODULE:CLASS"),
            ("{mine}:", "expected MODULE:CLASS"),
            ("{mine}:Mime", "has no 'Mime'; did you mean Mine? (has Greedy, Half, Lax, Mine,"),
            ("{mine}:Outer.Iner", "Outer has no 'Iner'; did you mean Inner?"),
            ("{mine}x:Mine", "no module '{mine}x' installed nor in"),
            ("no-name:Mine", "'no-name' is no module name"),
            ("{mine}:functools", "is a module; name a class in it"),
            ("{mine}:ready", "is an instance of Open; name its class, {mine}:Open"),
            ("{mine}:tacit", "tacit is a function that does not say what it returns"),
            ("{mine}:Half", "Half.train is missing"),
            ("{mine}:Lax", "Lax.predict(*X) requires 0 arguments, expected one (X) or two"),
            ("{mine}:Mine?rat=3", "Mine() takes no 'rat'; did you mean rate? (takes input_dim,"),
            ("{mine}:Mine?train.max_epoch=3", "Mine.train() takes no 'max_epoch'; did you mean"),
            ("{mine}:Mine?self=3", "Mine() takes no 'self'"),
            ("{mine}:Greedy", "Greedy() needs 'size', which nothing offers"),
            ("{mine}:Greedy?size=3", "Greedy.train() needs 'labels', which nothing offers"),
            ("a b={mine}:Mine", "the alias 'a b' may hold only"),
            ("ä={mine}:Mine", "the alias 'ä' may hold only a-z, A-Z, 0-9 and _ : + - . /"),
            ("nowhere.py:Mine", "no file"),
            ("sklearn.manifold:TSNE", "TSNE has fit but no transform and no inverse_transform"),
        ],
    )
    def test_say_what_and_what_next(self, parse, mine, text, part):
        typed = text.format(mine=mine)
        line = message(parse, typed)
        assert line.startswith(f"--model {typed}: ")
        assert part.format(mine=mine) in line

    def test_duplicate_ids_name_both_and_the_way_out(self, parse, mine):
        line = message(parse, f"{mine}:Mine", f"{mine}:Mine")
        assert line == (
            f"--model {mine}:Mine: has the id 'Mine' of --model {mine}:Mine; "
            f"name one of them: --model ALIAS={mine}:Mine"
        )

    def test_one_alias_for_two_models_is_not_given_an_alias(self, parse, mine):
        line = message(parse, f"x={mine}:Mine", f"x={mine}:Mine?rate=2")
        assert line.endswith(f"; name one of them: --model ALIAS={mine}:Mine?rate=2")

    @pytest.mark.parametrize(
        ("source", "part"),
        [
            ("import nowhere_to_be_found", "imports 'nowhere_to_be_found', which is not installed"),
            ("x = 1\ndef f(:\n", ".py:2 is no valid Python (invalid syntax)"),
            ("x = 1\ny = x / 0\n", "raised ZeroDivisionError: division by zero (at "),
            ("import sys\nsys.exit(3)", "raised SystemExit: 3 (at "),
        ],
    )
    @pytest.mark.parametrize("form", ["{name}:A", "{name}.py:A"])
    def test_a_module_that_fails_is_told_from_one_that_is_absent(
        self, parse, tmp_path, source, part, form
    ):
        name = f"fails{next(NUMBER)}"
        (tmp_path / f"{name}.py").write_text(source)
        line = message(parse, form.format(name=name))
        assert part in line
        assert name in line
        assert name not in sys.modules

    def test_a_name_that_fails_when_asked_for(self, parse, tmp_path):
        name = f"lazy{next(NUMBER)}"
        (tmp_path / f"{name}.py").write_text("def __getattr__(name):\n    import nowhere_at_all")
        assert "imports 'nowhere_at_all', which is not installed" in message(parse, f"{name}:A")

    def test_contract_exceptions_of_a_class_are_checked(self, parse, tmp_path, mine):
        with (tmp_path / f"{mine}.py").open("a") as file:
            file.write("\nclass Odd(Open):\n    contract_exceptions = ['one_cell']\n")
        assert "expected check -> reason" in message(parse, f"{mine}:Odd")


class TestOwnModels:
    """`models` is the package of reference models, unless the user has a `models`."""

    def test_is_one_copy(self, parse):
        from reconeval.models import Mean

        assert parse("models:Mean")[0].factory is Mean
        assert parse("models.mean:Mean")[0].factory is Mean

    @pytest.mark.parametrize("where", ["models.py", "models/__init__.py", "models/mine.py"])
    def test_the_users_wins(self, tmp_path, where):
        path = tmp_path / where
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(SOURCE))
        module = "models.mine" if path.stem == "mine" else "models"
        assert self.run(tmp_path, f"{module}:Open").startswith(f"{module} ")

    @pytest.mark.parametrize(("name", "named"), [("ReconPCA", True), ("ReconPCB", False)])
    def test_a_reference_model_that_they_hide_is_named(self, tmp_path, name, named):
        (tmp_path / "models.py").write_text("class Mine: ...")
        line = self.run(tmp_path, f"models:{name}")
        assert f"models has no {name!r}" in line
        advice = f"; for the reference model write reconeval.models:{name}"
        assert line.endswith(advice) == named

    def test_a_folder_of_other_files_does_not_hide_them(self, tmp_path):
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "weights.bin").touch()
        assert self.run(tmp_path, "models:Mean").startswith("reconeval.models")

    def test_reading_a_model_of_numpy_loads_no_torch(self, tmp_path):
        assert self.run(tmp_path, "models:ReconPCA").endswith(" []")

    def run(self, folder, text):
        # In a process of its own: the checkout's models are imported here already.
        code = f"""if True:
            import sys
            from reconeval.errors import UsageError
            from reconeval.spec import parse_models
            try:
                (spec,) = parse_models([{text!r}])
            except UsageError as error:
                sys.exit(print(error))
            heavy = {{'torch', 'anndata', 'scanpy'}}
            print(spec.factory.__module__, sorted(heavy & set(sys.modules)))
        """
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()


class TestTask:
    """The task is read from the signature of `predict`."""

    def test_is_read_from_the_number_of_arguments(self, parse, mine):
        assert [spec.task for spec in parse(f"{mine}:Open", f"{mine}:Shift")] == [
            "end_to_end",
            "latent_shift",
        ]

    def test_defaults_and_stars_do_not_count(self):
        class Model:
            def train(self): ...
            def predict(self, X, batch_size=3, *rest, device="cpu", **kwargs): ...

        assert task_of(Model) == task_of(Model()) == "end_to_end"

    @pytest.mark.parametrize("kind", [staticmethod, classmethod, lambda f: f])
    def test_any_kind_of_method_counts(self, kind):
        class Model:
            def train(self): ...

        text = "def predict(X): ..." if kind is staticmethod else "def predict(self, X): ..."
        namespace = {}
        exec(text, namespace)
        Model.predict = kind(namespace["predict"])
        assert task_of(Model) == task_of(Model()) == "end_to_end"

    def test_an_attribute_wins(self):
        class Model:
            task = "decode"

            def train(self): ...
            def predict(self, X, Y, Z): ...

        assert task_of(Model) == "decode"

    @pytest.mark.parametrize("word", ["reconstruct", 3])
    def test_an_unknown_word_is_refused(self, word):
        class Model:
            task = word

            def train(self): ...
            def predict(self, X): ...

        with pytest.raises(UsageError, match="expected one of end_to_end, decode"):
            task_of(Model)

    def test_what_stays_open_is_refused(self):
        class Model:
            def train(self): ...
            def predict(self, X, *, cells): ...

        with pytest.raises(UsageError, match='set `task = "end_to_end"`'):
            task_of(Model)

    def test_protocols_are_runtime_checkable(self, parse, mine):
        model = parse(f"{mine}:Open")[0].build({})
        assert isinstance(model, ReconstructionModel)
        assert isinstance(model, PerturbationPredictor)
        assert not isinstance(object(), ReconstructionModel)


class TestBuildAndTrain:
    """Specs build and train with what is on offer."""

    def test_build_fills_the_constructor(self, parse, mine):
        (spec,) = parse(f"{mine}:Mine?rate=3")
        with pytest.raises(AssertionError, match="built while"):
            spec.build(constructor_offers(n_genes=4, seed=0))

    def test_train_fills_its_arguments(self, parse, mine):
        (spec,) = parse(f"{mine}:Open?train.rate=2")
        model = spec.build({})
        spec.train(model, {"X": Offer(lambda: "cells"), "seed": Offer(lambda: 0)})
        assert (model.args, model.settings) == (("cells",), {"rate": 2})

    def test_what_the_data_lack_is_said(self, parse, tmp_path):
        name = f"counts{next(NUMBER)}"
        (tmp_path / f"{name}.py").write_text(
            "class A:\n def train(self, counts): ...\n def predict(self, X): ..."
        )
        (spec,) = parse(f"{name}:A")
        with pytest.raises(UsageError, match=r"A.train\(\) needs 'counts'.*on offer: X"):
            spec.train(spec.build({}), {"X": Offer(lambda: 0)})
