"""What makes a result another one: code, settings, data, seed, versions."""

import functools
import importlib.util
import sys
from dataclasses import replace

import numpy as np
import pytest

from reconeval.cache import _sources
from reconeval.cache._keys import Keys, digest, digest_of_inputs
from reconeval.cache._sources import UnknownCodeError, code_digest
from reconeval.cases import EndToEndCase
from reconeval.datasets import load_dataset, make_split
from reconeval.inputs import Inputs
from reconeval.metrics.registry import METRICS
from reconeval.options import Options
from reconeval.spec import parse_models

MODEL = """
import json
from helper import SCALE
class Mine:
    def __init__(self, scale=SCALE, path=None):
        self.scale = scale
    def train(self, X):
        import lazily
    def predict(self, X):
        return X
"""


OWN = {"mine", "pkg", "helper", "lazily", "base", "making"}


@pytest.fixture(scope="module")
def case():
    dataset = load_dataset("pbmc68k")
    return EndToEndCase(dataset, make_split(dataset, "iid"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder on the import path, whose modules are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in {one for one in sys.modules if one.partition(".")[0] in OWN} - before:
        del sys.modules[name]


def write(folder, **files):
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def imported(folder, name="mine", cls="Mine"):
    """Import a file afresh, as another process would."""
    for known in [one for one in sys.modules if one.partition(".")[0] in OWN]:
        del sys.modules[known]
    importlib.invalidate_caches()
    return getattr(importlib.import_module(name), cls)


class TestCode:
    @pytest.fixture
    def mine(self, folder):
        write(folder, mine=MODEL, helper="SCALE = 1\n", lazily="A = 1\n", alien="B = 1\n")
        return folder

    def test_is_the_same_twice_and_wherever_it_lies(self, mine, tmp_path_factory):
        first = code_digest(imported(mine))
        assert code_digest(imported(mine)) == first
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        for path in mine.glob("*.py"):
            path.rename(elsewhere / path.name)
        sys.path.insert(0, str(elsewhere))
        try:
            assert code_digest(imported(elsewhere)) == first
        finally:
            sys.path.remove(str(elsewhere))

    @pytest.mark.parametrize("changed", ["mine", "helper", "lazily"])
    def test_changes_with_any_file_of_the_users_that_it_imports(self, mine, changed):
        first = code_digest(imported(mine))
        path = mine / f"{changed}.py"
        path.write_text(path.read_text() + "# another line\n")
        assert code_digest(imported(mine)) != first

    def test_stays_with_a_file_that_it_does_not_import(self, mine):
        first = code_digest(imported(mine))
        write(mine, alien="B = 2\n")
        assert code_digest(imported(mine)) == first

    def test_imports_nothing_for_it(self, mine):
        cls = imported(mine)
        sys.modules.pop("lazily", None)
        code_digest(cls)
        assert "lazily" not in sys.modules

    @pytest.mark.parametrize(
        "changed", ["pkg/model", "pkg/deep/part", "pkg/__init__", "pkg/hidden"]
    )
    def test_of_a_package_is_all_of_it(self, folder, changed):
        write(folder, pkg____init____="", pkg__deep__part="A = 1\n", pkg__hidden="")
        for name in ("pkg", "pkg/deep"):
            (folder / name / "__init__.py").write_text("")
        (folder / "pkg" / "model.py").write_text("from .deep import part\nclass Mine: pass\n")
        first = code_digest(imported(folder, "pkg.model"))
        path = folder / f"{changed}.py"
        path.write_text(path.read_text() + "B = 2\n")
        assert code_digest(imported(folder, "pkg.model")) != first

    def test_of_a_folder_without_init_follows_relative_imports(self, folder):
        write(folder, pkg__model="from . import part\nclass Mine: pass\n", pkg__part="A = 1\n")
        first = code_digest(imported(folder, "pkg.model"))
        write(folder, pkg__part="A = 2\n")
        assert code_digest(imported(folder, "pkg.model")) != first

    def test_has_the_bases_of_a_class_and_what_a_factory_returns(self, folder):
        write(
            folder, mine="from base import Base\nclass Mine(Base): pass\n", base="class Base: ..."
        )
        write(folder, making="from mine import Mine\ndef make() -> Mine:\n    return Mine()\n")
        digests = set()
        for text in ("class Base: ...", "class Base: a = 1"):
            write(folder, base=text)
            digests.add(code_digest(imported(folder)))
            make = imported(folder, "making", "make")
            digests.add(code_digest(make))
            assert code_digest(functools.partial(make)) == code_digest(make)
        assert len(digests) == 4

    def test_of_an_installed_base_is_left_to_the_environment(self, folder, monkeypatch):
        monkeypatch.setattr(_sources, "_site_folders", lambda: (folder.resolve(),))
        write(folder, mine="from base import Base\nclass Mine(Base): pass\n")
        write(folder, base="class Base: ...\n")
        first = code_digest(imported(folder))
        write(folder, base="class Base: a = 1\n")
        assert code_digest(imported(folder)) == first

    def test_of_an_installed_package_is_all_of_it_but_nothing_of_others(self, folder, monkeypatch):
        monkeypatch.setattr(_sources, "_site_folders", lambda: (folder.resolve(),))
        init = "from helper import SCALE\nfrom pkg.part import A\n"
        write(folder, pkg__model="class Mine: pass\n", helper="SCALE = 1\n", pkg__part="A = 1\n")
        (folder / "pkg" / "__init__.py").write_text(init)
        first = code_digest(imported(folder, "pkg.model"))
        write(folder, helper="SCALE = 2\n")
        assert code_digest(imported(folder, "pkg.model")) == first
        write(folder, pkg__part="A = 2\n")
        assert code_digest(imported(folder, "pkg.model")) != first

    def test_of_an_installed_module_is_that_module(self, folder, monkeypatch):
        monkeypatch.setattr(_sources, "_site_folders", lambda: (folder.resolve(),))
        write(folder, mine="class Mine: pass\n")
        first = code_digest(imported(folder))
        write(folder, mine="class Mine: a = 1\n")
        assert code_digest(imported(folder)) != first

    def test_of_a_factory_around_an_installed_class_is_its_own(self, folder):
        text = "from sklearn.decomposition import PCA\ndef make() -> PCA:\n    return PCA({})\n"
        digests = set()
        for n in (2, 3):
            write(folder, mine=text.format(n))
            (spec,) = parse_models(["mine:make"])
            digests.add(code_digest(spec.factory))
            del sys.modules["mine"]
        assert len(digests) == 2

    def test_of_a_reference_model_is_left_to_the_harness(self):
        from reconeval.models import Mean, ReconPCA

        assert code_digest(Mean) == code_digest(ReconPCA) == code_digest(dict)

    @pytest.mark.parametrize("module", ["__main__", "made_by_hand"])
    def test_that_nobody_can_read_is_unknown(self, module):
        made = type("Mine", (), {"__module__": module})
        with pytest.raises(UnknownCodeError, match=f"defined in {module}, which has no source"):
            code_digest(made)

    def test_that_is_no_python_is_unknown(self, folder):
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mine", None))
        module.__file__ = str(folder / "mine.cpython-311.so")
        sys.modules["mine"] = module
        with pytest.raises(UnknownCodeError, match="which is no Python source"):
            code_digest(type("Mine", (), {"__module__": "mine"}))


class TestVersions:
    def test_a_package_that_is_installed_or_upgraded_changes_the_environment(
        self, tmp_path, monkeypatch
    ):
        digests = set()
        for name in ("torch-2.0", "torch-2.1", "torch-2.1/../scvi_tools-1.0"):
            (tmp_path / f"{name}.dist-info").mkdir(parents=True)
            monkeypatch.setattr(_sources, "_site_folders", lambda: (tmp_path,))
            _sources.environment_digest.cache_clear()
            digests.add(_sources.environment_digest())
        _sources.environment_digest.cache_clear()
        assert len(digests) == 3

    def test_a_package_that_is_installed_again_changes_it_only_with_its_files(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(_sources, "_site_folders", lambda: (tmp_path,))
        about = tmp_path / "mine-1.0.dist-info"
        about.mkdir()
        digests = []
        for code, script in (("1", "a"), ("2", "a"), ("2", "b")):
            lines = f"mine.py,sha256={code},9\n../../../bin/mine,sha256={script},9\n"
            (about / "RECORD").write_text(lines)
            _sources.environment_digest.cache_clear()
            digests.append(_sources.environment_digest())
        _sources.environment_digest.cache_clear()
        assert digests[0] != digests[1] == digests[2]

    @pytest.mark.parametrize(
        ("name", "changes"),
        [
            ("reconeval/runs.py", True),
            ("reconeval/cells.h5ad", False),
            ("models/mean.py", True),
            ("other/mean.py", False),
        ],
    )
    def test_a_changed_file_of_reconeval_changes_the_harness(
        self, tmp_path, monkeypatch, name, changes
    ):
        monkeypatch.setattr(_sources, "_HARNESS", tmp_path / "reconeval")
        for folder in ("reconeval", "models", "other"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "__init__.py").touch()
        digests = set()
        for text in ("A = 1", "A = 2"):
            (tmp_path / name).write_text(text)
            _sources.harness_digest.cache_clear()
            digests.add(_sources.harness_digest())
        _sources.harness_digest.cache_clear()
        assert (len(digests) == 2) is changes


class TestKeys:
    def key(self, case, text="models:Mean", seed=0, accelerator="cpu", **options):
        (spec,) = parse_models([text])
        return Keys(Options(**options)).fit(spec, case, seed, accelerator)

    def test_is_the_same_whatever_the_alias(self, case):
        assert self.key(case) == self.key(case, "mean=models:Mean")

    def test_changes_with_model_settings_seed_and_data(self, case):
        dataset = case.dataset
        keys = [
            self.key(case),
            self.key(case, "models:Shuffle"),
            self.key(case, "models:ReconPCA"),
            self.key(case, "models:ReconPCA?n_components=2"),
            self.key(case, "models:ReconPCA?n_components=3"),
            self.key(case, "models:ReconAE?train.max_epochs=3"),
            self.key(case, "models:ReconAE?n_latent=3"),
            self.key(case, seed=1),
            self.key(case, batch_key="donor"),
            self.key(case, counts_layer="raw"),
            self.key(EndToEndCase(dataset, make_split(dataset, "iid", seed=1))),
            self.key(EndToEndCase(dataset, make_split(dataset, "cell_type"))),
            self.key(EndToEndCase(replace(dataset, sha256="0" * 64), case.split)),
            self.key(EndToEndCase(replace(dataset, version="2"), case.split)),
        ]
        assert None not in keys
        assert len(set(keys)) == len(keys)

    def test_changes_with_the_content_of_a_file_in_the_settings(self, case, folder):
        write(folder, mine=MODEL, helper="SCALE = 1\n", lazily="")
        weights = folder / "weights.npy"
        keys = set()
        for content in ("one", "two"):
            weights.write_text(content)
            keys.add(self.key(case, f"mine:Mine?path={weights}"))
        keys.add(self.key(case, "mine:Mine?path=nowhere.npy"))
        weights.unlink()
        weights.mkdir()
        for name in ("a", "b"):
            (weights / name).write_text("one")
            keys.add(self.key(case, f"mine:Mine?path={weights}"))
        assert len(keys) == 5

    def test_a_folder_of_too_many_files_has_none_and_says_why(self, case, folder, monkeypatch):
        write(folder, mine=MODEL, helper="SCALE = 1\n", lazily="")
        monkeypatch.setattr("reconeval.cache._keys._MOST_FILES", 2)
        (spec,) = parse_models([f"mine:Mine?path={folder}"])
        keys = Keys(Options())
        assert keys.fit(spec, case, 0, "cpu") is None
        assert "has more than 2 files" in keys.unknown[spec.id]

    def test_the_code_is_that_of_the_beginning(self, case, folder):
        write(folder, mine=MODEL, helper="SCALE = 1\n", lazily="")
        (spec,) = parse_models(["mine:Mine"])
        keys = Keys(Options())
        first = keys.fit(spec, case, 0, "cpu")
        write(folder, helper="SCALE = 2\n")
        assert keys.fit(spec, case, 0, "cpu") == first
        assert Keys(Options()).fit(spec, case, 0, "cpu") != first

    def test_of_a_metric_changes_with_its_version_and_code(self):
        keys, metric = Keys(Options()), METRICS["mse"]
        known = keys.metric(metric)
        assert Keys(Options()).metric(metric) == known
        assert Keys(Options()).metric(replace(metric, version=metric.version + 1)) != known
        assert Keys(Options()).metric(replace(metric, compute=lambda pair: 0.0)) != known

    def test_of_contract_and_truth_are_others(self, case):
        (spec,) = parse_models(["models:Mean"])
        keys = Keys(Options())
        found = {keys.fit(spec, case, 0, "cpu"), keys.contract(spec, case), keys.truth(case)}
        assert len(found) == 3

    def test_plain_values_have_one_digest_in_any_order(self):
        assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        assert len({digest(1), digest(1.0), digest(True), digest("1"), digest(None)}) == 5


def test_inputs_are_told_apart_by_arrays_and_labels():
    pd = pytest.importorskip("pandas")
    X = np.arange(6.0).reshape(3, 2)
    obs = pd.DataFrame({"donor": ["a", "b", "a"]})
    found = [
        Inputs({"X": X}),
        Inputs({"X": X + 1}),
        Inputs({"X": X.astype(np.float32)}),
        Inputs({"X": X.reshape(2, 3)}),
        Inputs({"embedding": X}),
        Inputs({"X": X}, {"obs": obs}),
        Inputs({"X": X}, {"obs": obs[::-1]}),
        Inputs({"X": X}, {"cell_type": np.array(["a", "b", "a"])}),
    ]
    assert len({digest_of_inputs(one) for one in found}) == len(found)
    assert digest_of_inputs(found[0].copy()) == digest_of_inputs(found[0])
