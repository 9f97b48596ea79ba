"""Runs a small benchmark over and over in forks that are killed; see test_cache_killed.

Forked, so that what takes long, the imports, is done once. The fork may be killed from outside
after some seconds, or by itself at its n-th write: before the file is whole, or before it is in
place.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from reconeval.costs import find
from reconeval.options import Options
from reconeval.reference import Reference
from reconeval.session import Session

SEEDS = (0, 1, 2)
METRICS = ("r2", "mse", "pearson_cell", "zero_fraction_error", "poisson_deviance")


def make_session(**options):
    return Session(
        Options(
            models=("killed:First", "killed:Second"),
            datasets=("pbmc68k",),
            splits=("iid",),
            seeds=SEEDS,
            metrics=METRICS,
            **options,
        )
    )


def benchmark(out, **options):
    """Do what the suite does, and write all values into a file."""
    session = make_session(**options)
    found = {}
    for model in session.specs:
        run = session.train(model, "pbmc68k", "iid", lambda _: None)
        for name in METRICS:
            row = run.row(find(name)).to_dict()
            found[f"{model} {name}"] = [row[key] for key in ("value", "low", "high", "reason")]
        found[f"{model} rounds"] = len(run.rounds())
    out.write_text(json.dumps(found))


def die_at(number):
    """Kill this process at its write of that number, half of the file written or all of it."""
    count, real_open = [0], os.fdopen

    def counting(handle, *args, **kwargs):
        count[0] += 1
        file = real_open(handle, *args, **kwargs)
        if count[0] < number:
            return file
        write = file.write

        def half(content):
            write(content[: len(content) // (1 + number % 2)])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        class Dying:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                file.close()

            write = staticmethod(half)

        return Dying()

    os.fdopen = counting


def fork(out, *, seconds=None, writes=None, **options):
    """Return whether a fork came to its end; kill it after some seconds, or at a write."""
    child = os.fork()
    if child == 0:
        if writes is not None:
            die_at(writes)
        try:
            benchmark(out, **options)
        except BaseException as error:  # noqa: BLE001  (told, and the fork ends)
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(2)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"the benchmark failed with {os.WEXITSTATUS(status)}")
    return os.WIFEXITED(status)


def state(folder):
    """Return what is whole in the cache: the marks of trainings, and scores by training."""
    from reconeval.cache import Store

    store = Store(folder)
    trained, scored = {}, {}
    for entry in store.entries():
        about = f"{entry.about.get('model')} {entry.about.get('seed')}"
        fit = store.read_json(entry.key, "fit")
        if entry.about.get("kind") != "training" or fit is None:
            continue
        trained[about] = fit["mark"]
        for name in METRICS:
            score = store.read_json(entry.key, f"score {name}")
            if score is not None:
                scored[f"{about} {name}"] = score["value"]
    return {"trained": trained, "scored": scored}


def main():
    Reference.measure = lambda self: self.note(0.02)  # spares the import of torch
    make_session().case("pbmc68k", "iid")  # loads what the forks would load each
    folder, log, rng = Path("cache"), Path("trainings.log"), random.Random(int(sys.argv[1]))
    start = time.perf_counter()
    fork(Path("whole.json"), cache=False)
    whole = time.perf_counter() - start
    expected = log.read_text().split()
    log.unlink()
    history = []
    moments = [{"writes": rng.randint(1, 20)} for _ in range(4)]
    moments += [{"seconds": rng.uniform(0.05, 0.5) * whole} for _ in range(2)]
    for moment in moments:
        done = fork(Path("part.json"), cache_dir=folder, **moment)
        begun = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        history.append({"done": done, "begun": begun, **moment, **state(folder)})
    fork(Path("resumed.json"), cache_dir=folder)
    begun = log.read_text().split() if log.exists() else []
    history.append({"done": True, "begun": begun, **state(folder)})
    Path("history.json").write_text(json.dumps({"expected": expected, "history": history}))


if __name__ == "__main__":
    main()
