"""What a run finds of earlier ones, and keeps for later ones."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING

from reconeval.cache._kept import KeptRun
from reconeval.cache._keys import Keys
from reconeval.cache._store import Store, largest_size, results_folder
from reconeval.cache._trainings import keep, load
from reconeval.contract import Outcome
from reconeval.errors import ReconevalError
from reconeval.fits import fit
from reconeval.report.html.material import Material
from reconeval.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reconeval.cache._trainings import Kept
    from reconeval.cases import Case
    from reconeval.fits import Fit
    from reconeval.metrics.registry import Metric
    from reconeval.options import Options
    from reconeval.reference import Reference
    from reconeval.rows import Row
    from reconeval.spec import ModelSpec

__all__ = ["Cache"]


@dataclass(eq=False)
class Cache:
    """The results of earlier runs.

    Parameters
    ----------
    options
        What the user asked for.
    specs
        The models of the run; what each is defined by is read now.
    reference
        How fast the machine is: measured for what is kept, and noted by place from what is found.

    Raises
    ------
    UsageError
        If `$RECONEVAL_CACHE_GB` is no size.
    """

    options: Options
    specs: InitVar[Iterable[ModelSpec]]
    reference: Reference
    store: Store = field(init=False)
    keys: Keys = field(init=False)

    def __post_init__(self, specs: Iterable[ModelSpec]) -> None:
        self.store = Store(self.options.cache_dir or results_folder())
        self._most = largest_size()  # refused now, not at the end
        self.keys = Keys(self.options)
        for spec in specs:
            self.keys.model(spec)

    def header(self, *, verbose: bool) -> list[str]:
        """Return what to say at the beginning: where results are kept, and in full of what not."""
        lines = [f"cache {self.store.folder}"]
        if verbose:
            lines += [f"not kept: {name}, for {why}" for name, why in self.keys.unknown.items()]
        return lines

    def summary(self, rows: Iterable[Row]) -> list[str]:
        """Return what to say at the end: how much is of earlier runs, and what went wrong."""
        trained = {(row.model, row.dataset, row.split): row.cached for row in rows}
        lines = []
        if any(trained.values()):
            lines.append(
                f"from the cache: {sum(trained.values())} of {len(trained)} models on their "
                "splits, with the times of the run that trained them; --no-cache trains anew"
            )
        if self.store.failure:
            lines.append(f"nothing more was kept: {self.store.failure}")
        return lines

    def trim(self) -> None:
        """Forget what was not used for longest, if what this run kept has made it too much."""
        if self.store.wrote:
            self.store.trim(self._most)

    def train(
        self,
        spec: ModelSpec,
        case: Case,
        *,
        metrics: Sequence[Metric],
        timed: bool,
        progress: Callable[[str], None],
    ) -> Run | None:
        """Do what `reconeval.runs.train` does for the seeds that no earlier run has finished.

        Parameters
        ----------
        spec, case, progress
            As for `reconeval.runs.train`.
        metrics
            The metrics that are going to be scored.
        timed
            Whether the seconds of predictions are going to be asked for.

        Returns
        -------
        The run; its `cached` tells whether it has trainings of an earlier one. None, with nothing
        trained, where it cannot be told what a training is made of.
        """
        run = self._empty_run(spec, case, progress)
        place = (spec.id, case.dataset.name, case.split.name)
        for seed in self.options.seeds:
            key = self.keys.fit(spec, case, seed, self.options.accelerator)
            if key is None:  # whatever the seed
                return None
            kept = load(self.store, key)
            if kept is not None:
                progress(f"{spec.id} on {case.name}, seed {seed}: trained by an earlier run")
                self.reference.note_kept(place, kept.reference_seconds)
                run.add(seed, kept)
                continue
            try:
                made = run.retrain(seed)
            except ReconevalError as error:
                return Run(spec, case, [], str(error))
            first = timed and seed == self.options.seeds[0]
            run.fits.append(made)
            run.trainings[seed] = self._keep(spec, case, made, key, metrics, timed=first)
        if place in self.reference.kept and not all(one.reused for one in run.trainings.values()):
            self.reference.note_kept(place, self.reference.seconds)
        return run

    def _empty_run(self, spec: ModelSpec, case: Case, progress: Callable[[str], None]) -> KeptRun:
        options = self.options

        def train(seed: int) -> Fit:
            progress(f"training {spec.id} on {case.name}, seed {seed}")
            return fit(spec, case, seed, accelerator=options.accelerator, verbose=options.verbose)

        return KeptRun(
            spec,
            case,
            [],
            verbose=options.verbose,
            store=self.store,
            keys=self.keys,
            trainings={},
            retrain=train,
        )

    def _keep(
        self,
        spec: ModelSpec,
        case: Case,
        made: Fit,
        key: str,
        metrics: Sequence[Metric],
        *,
        timed: bool,
    ) -> Kept:
        self.reference.measure()
        about = {"kind": "training", "model": spec.id, "place": case.name, "seed": str(made.seed)}
        return keep(
            self.store,
            Run(spec, case, [made], verbose=self.options.verbose),
            key,
            metrics=metrics,
            timed=timed,
            reference_seconds=self.reference.seconds,
            about=about,
        )

    def material(self, run: Run) -> Material:
        """Return what a report draws of a run, which an earlier one may have found."""
        if isinstance(run, KeptRun):
            return run.material()
        material = Material()
        material.observe(run)
        return material

    def outcome(
        self, spec: ModelSpec, case: Case, check: str, make: Callable[[], Outcome]
    ) -> Outcome:
        """Return the outcome of a check of the contract; a failed one is not kept.

        Parameters
        ----------
        spec
            The model.
        case
            Whose cells it is checked on.
        check
            Name of the check.
        make
            Runs it.
        """
        key = self.keys.contract(spec, case)
        if key is None:
            return make()
        found = self.store.read_json(key, f"check {check}")
        if found is not None:
            return Outcome(**found)
        outcome = make()
        if outcome.status != "failed":
            about = {"kind": "contract", "model": spec.id, "place": case.name}
            self.store.write_json(key, f"check {check}", outcome._asdict(), about=about)
        return outcome
