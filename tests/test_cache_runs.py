"""What a second run finds of the first, and what it does not."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reconeval import runs
from reconeval.cache import Store, results_folder
from reconeval.datasets import load_dataset
from reconeval.metrics import METRICS
from tests.example_models import BROKEN, GOOD
from tests.task_models import DECODERS, EMBEDDERS, PREDICTORS
from tests.test_plugin import BENCHMARKS, QUICK, SMALL, bench
from tests.test_plugin import METRICS as METRIC_TESTS

COSTS = ("train_seconds", "peak_rss_mb", "predict_cells_per_second", "n_parameters")
LOGGED = "trainings.log"
# One that needs a further prediction and one that the data cannot serve among them.
SOME = (*SMALL, "--metrics", "r2,mse,coexpression,poisson_deviance,cellcycle_S")
SIZED = """
import numpy as np
from pathlib import Path

class Sized:
    n_parameters = 42
    def train(self, X, seed):
        with Path("trainings.log").open("a") as log:
            log.write(f"{len(X)} {seed}\\n")
        self.mean = X.mean(axis=0) + 0.01 * seed
    def predict(self, X):
        with Path("predictions.log").open("a") as log:
            log.write(f"{len(X)}\\n")
        return (X + self.mean).astype(np.float64)
"""


@pytest.fixture(autouse=True)
def user_folder(pytester, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(mymodel=GOOD, broken=BROKEN, sized=SIZED)
    return pytester


def rows(path):
    """Return the rows of a results file by metric."""
    table = pd.read_csv(path).astype(object)
    found = table.where(table.notna(), None).to_dict("records")
    return {row["metric"]: row for row in found}


def trainings():
    path = Path(LOGGED)
    return path.read_text().splitlines() if path.exists() else []


def run(pytester, *args, model="mymodel:Good", path=METRIC_TESTS):
    return bench(pytester, *args, models=(model,), path=path)


class TestSecondRun:
    def test_trains_nothing_and_says_so(self, pytester):
        whole = (*SOME, "--seeds=2", "-k", "not contract")
        first = run(pytester, *whole, "--results=a.csv", path=BENCHMARKS, model="sized:Sized")
        asked = Path("predictions.log").read_text()
        second = run(pytester, *whole, "--results=b.csv", path=BENCHMARKS, model="sized:Sized")
        assert len(trainings()) == 2
        assert Path("predictions.log").read_text() == asked
        assert first.ret == second.ret
        assert "from the cache" not in first.stdout.str()
        first.stdout.no_fnmatch_line("*cached*")
        second.stdout.fnmatch_lines(
            [
                "r2 *pass",
                "train_seconds *pass, cached",
                "predict_cells_per_*pass, cached",
                "from the cache: 1 of 1 models*--no-cache trains anew",
            ]
        )
        a, b = rows("a.csv"), rows("b.csv")
        assert set(a) == set(b) >= set(COSTS)
        assert not any(row.pop("cached") for row in a.values())
        assert all(row.pop("cached") for row in b.values())
        assert a == b
        assert a["n_parameters"]["value"] == 42

    def test_replays_the_timings_of_the_first(self, pytester):
        run(pytester, *QUICK, "-k=time", "--benchmark-json=a.json", path=BENCHMARKS)
        run(pytester, *QUICK, "-k=time", "--benchmark-json=b.json", path=BENCHMARKS)
        stats = []
        for name in ("a.json", "b.json"):
            document = json.loads(Path(name).read_text())
            stats.append({one["name"]: one["stats"]["data"] for one in document["benchmarks"]})
        assert len(trainings()) == 1
        for name, seconds in stats[0].items():
            assert seconds == pytest.approx(stats[1][name])
        assert [len(seconds) for seconds in stats[0].values()] in ([1, 5], [5, 1])

    def test_has_the_report_s_material_under_the_names_of_now(self, pytester):
        found = []
        for name in ("mymodel:Good", "ours=mymodel:Good"):
            run(pytester, *QUICK, "--results=out.json", model=name)
            found.append(json.loads(Path("out.json").read_text())["material"])
        assert len(trainings()) == 1
        assert [one["predicted"][0].pop("model") for one in found] == ["Good", "ours"]
        assert found[0] == found[1]
        assert len(found[0]["measured"]) == len(found[0]["predicted"]) == 1

    def test_has_the_contract_too(self, pytester, monkeypatch):
        first = run(pytester, *SMALL, "-k=contract", path=BENCHMARKS)
        assert len(trainings()) > 1
        Path(LOGGED).unlink()
        second = run(pytester, *SMALL, "-k=contract", path=BENCHMARKS)
        assert trainings() == []
        assert first.parseoutcomes() == second.parseoutcomes()

    def test_scores_what_the_first_did_not(self, pytester):
        run(pytester, *SOME, "-k=mse")
        run(pytester, *SOME, "--results=b.csv")
        assert len(trainings()) == 1
        run(pytester, *SOME, "--no-cache", "--results=c.csv")
        b, c = rows("b.csv"), rows("c.csv")
        assert {name: row["value"] for name, row in b.items()} == {
            name: row["value"] for name, row in c.items()
        }
        assert b["poisson_deviance"]["value"] > 0

    def test_trains_again_for_what_only_the_model_can_tell(self, pytester):
        run(pytester, *QUICK)
        result = run(pytester, *SMALL, "--metrics=poisson_deviance", "--results=b.csv")
        assert result.ret == 0
        assert len(trainings()) == 2
        run(pytester, *QUICK, "-k=predict_time", path=BENCHMARKS)
        assert len(trainings()) == 3
        run(pytester, *QUICK, "-k=predict_time", path=BENCHMARKS)
        assert len(trainings()) == 3

    def test_of_more_seeds_trains_the_others(self, pytester):
        run(pytester, *QUICK, "--seeds=2")
        run(pytester, *QUICK, "--seeds=3", "--results=b.csv")
        assert [line.split()[1] for line in trainings()] == ["0", "1", "2"]
        assert rows("b.csv")["mse"]["cached"] is True

    def test_of_another_model_split_or_setting_trains(self, pytester):
        run(pytester, *QUICK)
        run(pytester, *QUICK, model="mymodel:Good?n_components=5")
        run(pytester, "--dataset=pbmc68k", "--split=cell_type", "--metrics=mse")
        assert len(trainings()) == 3

    def test_of_changed_code_trains(self, pytester):
        run(pytester, *QUICK)
        Path("mymodel.py").write_text(GOOD + "\n# changed\n")
        run(pytester, *QUICK)
        assert len(trainings()) == 2

    def test_under_another_alias_trains_nothing(self, pytester):
        run(pytester, *QUICK)
        run(pytester, *QUICK, "--results=b.csv", model="ours=mymodel:Good")
        assert len(trainings()) == 1
        assert rows("b.csv")["mse"]["model"] == "ours"

    def test_judges_anew(self, pytester):
        Path("mine.toml").write_text("[pbmc68k.iid.floor]\nmse = 100.0\n")
        assert run(pytester, *QUICK, "--thresholds=mine.toml").ret == 0
        Path("mine.toml").write_text("[pbmc68k.iid.floor]\nmse = 0.0001\n")
        assert run(pytester, *QUICK, "--thresholds=mine.toml").ret == 1
        assert len(trainings()) == 1


class TestTasks:
    """Of the other tasks everything is found again as well, and what a model sees is told apart."""

    @pytest.fixture(autouse=True)
    def models(self, pytester):
        pytester.makepyfile(decoders=DECODERS, fm=EMBEDDERS, shifts=PREDICTORS)

    def kept(self):
        entries = Store(results_folder()).entries()
        return [entry.key for entry in entries if entry.about["kind"] == "training"]

    def twice(self, pytester, *args, model):
        found = []
        for name in ("a.csv", "b.csv"):
            run(pytester, *args, f"--results={name}", model=model)
            found.append(rows(name))
        assert all(row.pop("cached") is (one is found[1]) for one in found for row in one.values())
        assert found[0] == found[1]
        assert len(self.kept()) == 1
        return found[1]

    def test_decode(self, pytester):
        found = self.twice(pytester, *SOME, "--embedder=fm:Axes", model="decoders:Linear")
        assert found["poisson_deviance"]["value"] > 0
        calls = len(Path("calls.jsonl").read_text().splitlines())
        run(pytester, *SOME, "--embedder=fm:Axes", model="decoders:Linear")
        assert len(Path("calls.jsonl").read_text().splitlines()) == calls
        run(pytester, *QUICK, "--embedder=fm:Axes?d=5", model="decoders:Linear")
        Path("fm.py").write_text(EMBEDDERS + "# changed\n")
        run(pytester, *QUICK, "--embedder=fm:Axes", model="decoders:Linear")
        assert len(self.kept()) == 3

    def test_decode_of_stored_values(self, pytester):
        cells = [str(cell) for cell in load_dataset("pbmc68k").adata.obs_names]
        for shift in (0, 1, 1):
            values = np.random.default_rng(shift).normal(size=(len(cells), 4)).astype("float32")
            np.save("own.npy", values)
            Path("own.names.txt").write_text("\n".join(cells))
            result = run(pytester, *QUICK, "--embedding=own.npy", model="decoders:Linear")
            assert result.parseoutcomes().keys() <= {"passed", "failed", "warnings"}
        assert len(self.kept()) == 2

    def test_latent_shift(self, pytester):
        place = ("--dataset=latent_synthetic", "--metrics=mse,latent_r2,knn_purity")
        self.twice(pytester, *place, model="shifts:Linear")


class TestOptions:
    def test_no_cache_reads_and_writes_nothing(self, pytester):
        run(pytester, *QUICK, "--no-cache")
        assert not results_folder().exists()
        run(pytester, *QUICK)
        kept = {entry.key: entry.used for entry in Store(results_folder()).entries()}
        result = run(pytester, *QUICK, "--no-cache", "--results=c.csv")
        assert len(trainings()) == 3
        assert kept == {entry.key: entry.used for entry in Store(results_folder()).entries()}
        assert rows("c.csv")["mse"]["cached"] is False
        result.stdout.no_fnmatch_line("cache *")

    def test_another_folder(self, pytester):
        result = run(pytester, *QUICK, "--cache-dir=here")
        result.stdout.fnmatch_lines(["cache here"])
        assert len(list(Store(Path("here")).entries())) > 0
        assert not results_folder().exists()

    def test_a_folder_that_cannot_be_written_ends_nothing(self, pytester):
        Path("here").write_text("a file")
        result = run(pytester, *QUICK, "--cache-dir=here")
        assert result.ret == 0
        result.stdout.fnmatch_lines(["nothing more was kept: here cannot be written (*)"])

    def test_the_oldest_goes_when_it_is_too_much(self, pytester, monkeypatch):
        run(pytester, *QUICK)
        monkeypatch.setenv("RECONEVAL_CACHE_GB", "0")
        run(pytester, *QUICK, "--seed=1")
        assert list(Store(results_folder()).entries()) == []

    def test_a_limit_that_is_no_size_is_refused_at_once(self, pytester, monkeypatch):
        monkeypatch.setenv("RECONEVAL_CACHE_GB", "much")
        result = run(pytester, *QUICK)
        assert result.ret == 4
        result.stderr.fnmatch_lines(["*RECONEVAL_CACHE_GB is 'much', expected a number of GB*"])
        assert trainings() == []


class TestWhatIsNotKept:
    @pytest.mark.parametrize("model", ["Raises", "RaisesLate", "Nan"])
    def test_errors(self, pytester, model):
        run(pytester, *QUICK, model=f"broken:{model}")
        kinds = {entry.about["kind"] for entry in Store(results_folder()).entries()}
        assert "training" not in kinds

    def test_a_check_that_failed(self, pytester):
        for _ in range(2):
            result = run(pytester, *SMALL, "-k=contract", path=BENCHMARKS, model="broken:Narrow")
            result.stdout.fnmatch_lines(["*returned shape (64, 764), expected*"])

    def test_code_that_nobody_can_read_and_v_says_so(self, pytester):
        Path("mymodel.py").write_text(
            GOOD + "\nGood = type('Good', (Good,), {'__module__': 'nowhere'})\n"
        )
        for _ in range(2):
            result = run(pytester, *QUICK, "-v")
            assert result.ret == 0
        assert len(trainings()) == 2
        result.stdout.fnmatch_lines(
            ["not kept: Good, for it is defined in nowhere, which has no source file"]
        )
        result = run(pytester, *QUICK)
        result.stdout.no_fnmatch_line("not kept*")


class TestDamage:
    @pytest.fixture
    def folder(self, pytester):
        run(pytester, *SOME, "--results=a.csv")
        (entry,) = [
            one for one in Store(results_folder()).entries() if one.about["kind"] == "training"
        ]
        return results_folder() / entry.key[:2] / entry.key

    @pytest.mark.parametrize("name", ["fit", "predictions", "score mse", "score poisson_deviance"])
    def test_is_mended(self, pytester, folder, name):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-1])
        if name == "predictions":
            (folder / "score mse").unlink()  # so that they are asked for
        for _ in range(2):
            run(pytester, *SOME, "--results=b.csv")
        a, b = rows("a.csv"), rows("b.csv")
        assert {name: row["value"] for name, row in a.items()} == {
            name: row["value"] for name, row in b.items()
        }
        assert len(trainings()) <= 3
        again = len(trainings())
        run(pytester, *SOME)
        assert len(trainings()) == again

    def test_scores_of_other_predictions_are_not_taken(self, pytester, folder):
        store = Store(results_folder())
        found = store.read_json(folder.name, "score mse")
        store.write_json(folder.name, "score mse", {**found, "mark": "0" * 64, "value": 9.0})
        run(pytester, *SOME, "--results=b.csv")
        assert rows("b.csv")["mse"]["value"] == rows("a.csv")["mse"]["value"] < 9


def test_predictions_are_timed_where_they_are_asked_for_only(pytester, monkeypatch):
    timed = []
    real = runs.time_predictions
    monkeypatch.setattr(runs, "time_predictions", lambda *args: timed.append(1) or real(*args))
    run(pytester, *QUICK)
    assert timed == []
    run(pytester, *QUICK, "-k=not contract", "--seed=1", path=BENCHMARKS)
    assert timed == [1]


def test_every_metric_of_a_task_is_found_again(pytester):
    run(pytester, *SMALL, "--results=a.csv")
    (entry,) = [one for one in Store(results_folder()).entries() if one.about["kind"] == "training"]
    names = {path.name for path in (results_folder() / entry.key[:2] / entry.key).iterdir()}
    scored = {name.removeprefix("score ") for name in names if name.startswith("score ")}
    assert scored == set(rows("a.csv"))
    assert scored <= set(METRICS)
