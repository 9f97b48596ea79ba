"""What a second run finds of the first, and what it does not."""

import json
from pathlib import Path

import pytest

from reconeval import runs
from reconeval.cache import Store, results_folder
from reconeval.metrics import METRICS
from tests.example_models import BROKEN, GOOD
from tests.test_plugin import BENCHMARKS, QUICK, SMALL, bench
from tests.test_plugin import METRICS as METRIC_TESTS

COSTS = ("train_seconds", "peak_rss_mb", "predict_cells_per_second", "n_parameters")
LOGGED = "trainings.log"
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
    """Return the rows of a results file by metric, without what a replayed run says of itself."""
    found = json.loads(Path(path).read_text())["rows"]
    return {row["metric"]: row for row in found}


def trainings():
    path = Path(LOGGED)
    return path.read_text().splitlines() if path.exists() else []


def run(pytester, *args, model="mymodel:Good", path=METRIC_TESTS):
    return bench(pytester, *args, models=(model,), path=path)


class TestSecondRun:
    def test_trains_nothing_and_says_so(self, pytester):
        whole = (*SMALL, "--seeds=2", "-k", "not contract")
        first = run(pytester, *whole, "--results=a.json", path=BENCHMARKS, model="sized:Sized")
        asked = Path("predictions.log").read_text()
        second = run(pytester, *whole, "--results=b.json", path=BENCHMARKS, model="sized:Sized")
        assert len(trainings()) == 2
        assert Path("predictions.log").read_text() == asked
        assert first.ret == second.ret
        assert "from the cache" not in first.stdout.str()
        first.stdout.no_fnmatch_line("*cached*")
        second.stdout.fnmatch_lines(
            [
                "mse *pass",
                "train_seconds *pass, cached",
                "predict_cells_per_second *pass, cached",
                "from the cache: 1 of 1 models*--no-cache trains anew",
            ]
        )
        a, b = rows("a.json"), rows("b.json")
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

    def test_has_the_contract_too(self, pytester, monkeypatch):
        first = run(pytester, *SMALL, "-k=contract", path=BENCHMARKS)
        assert len(trainings()) > 1
        Path(LOGGED).unlink()
        second = run(pytester, *SMALL, "-k=contract", path=BENCHMARKS)
        assert trainings() == []
        assert first.parseoutcomes() == second.parseoutcomes()

    def test_scores_what_the_first_did_not(self, pytester):
        run(pytester, *SMALL, "-k=mse")
        run(pytester, *SMALL, "--results=b.json")
        assert len(trainings()) == 1
        run(pytester, *SMALL, "--no-cache", "--results=c.json")
        b, c = rows("b.json"), rows("c.json")
        assert {name: row["value"] for name, row in b.items()} == {
            name: row["value"] for name, row in c.items()
        }
        assert b["poisson_deviance"]["value"] > 0

    def test_trains_again_for_what_only_the_model_can_tell(self, pytester):
        run(pytester, *QUICK)
        result = run(pytester, *SMALL, "--metrics=poisson_deviance", "--results=b.json")
        assert result.ret == 0
        assert len(trainings()) == 2
        run(pytester, *QUICK, "-k=predict_time", path=BENCHMARKS)
        assert len(trainings()) == 3
        run(pytester, *QUICK, "-k=predict_time", path=BENCHMARKS)
        assert len(trainings()) == 3

    def test_of_more_seeds_trains_the_others(self, pytester):
        run(pytester, *QUICK, "--seeds=2")
        run(pytester, *QUICK, "--seeds=3", "--results=b.json")
        assert [line.split()[1] for line in trainings()] == ["0", "1", "2"]
        assert rows("b.json")["mse"]["cached"] is True

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
        run(pytester, *QUICK, "--results=b.json", model="ours=mymodel:Good")
        assert len(trainings()) == 1
        assert rows("b.json")["mse"]["model"] == "ours"

    def test_judges_anew(self, pytester):
        Path("mine.toml").write_text("[pbmc68k.iid.floor]\nmse = 100.0\n")
        assert run(pytester, *QUICK, "--thresholds=mine.toml").ret == 0
        Path("mine.toml").write_text("[pbmc68k.iid.floor]\nmse = 0.0001\n")
        assert run(pytester, *QUICK, "--thresholds=mine.toml").ret == 1
        assert len(trainings()) == 1


class TestOptions:
    def test_no_cache_reads_and_writes_nothing(self, pytester):
        run(pytester, *QUICK, "--no-cache")
        assert not results_folder().exists()
        run(pytester, *QUICK)
        kept = {entry.key: entry.used for entry in Store(results_folder()).entries()}
        result = run(pytester, *QUICK, "--no-cache", "--results=c.json")
        assert len(trainings()) == 3
        assert kept == {entry.key: entry.used for entry in Store(results_folder()).entries()}
        assert rows("c.json")["mse"]["cached"] is False
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
        run(pytester, *SMALL, "--results=a.json")
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
            run(pytester, *SMALL, "--results=b.json")
        a, b = rows("a.json"), rows("b.json")
        assert {name: row["value"] for name, row in a.items()} == {
            name: row["value"] for name, row in b.items()
        }
        assert len(trainings()) <= 3
        again = len(trainings())
        run(pytester, *SMALL)
        assert len(trainings()) == again

    def test_scores_of_other_predictions_are_not_taken(self, pytester, folder):
        store = Store(results_folder())
        found = store.read_json(folder.name, "score mse")
        store.write_json(folder.name, "score mse", {**found, "mark": "0" * 64, "value": 9.0})
        run(pytester, *SMALL, "--results=b.json")
        assert rows("b.json")["mse"]["value"] == rows("a.json")["mse"]["value"] < 9


def test_predictions_are_timed_where_they_are_asked_for_only(pytester, monkeypatch):
    timed = []
    real = runs.time_predictions
    monkeypatch.setattr(runs, "time_predictions", lambda *args: timed.append(1) or real(*args))
    run(pytester, *QUICK)
    assert timed == []
    run(pytester, *QUICK, "-k=not contract", "--seed=1", path=BENCHMARKS)
    assert timed == [1]


def test_every_metric_of_a_task_is_found_again(pytester):
    run(pytester, *SMALL, "--results=a.json")
    (entry,) = [one for one in Store(results_folder()).entries() if one.about["kind"] == "training"]
    names = {path.name for path in (results_folder() / entry.key[:2] / entry.key).iterdir()}
    scored = {name.removeprefix("score ") for name in names if name.startswith("score ")}
    assert scored == set(rows("a.json"))
    assert scored <= set(METRICS)
