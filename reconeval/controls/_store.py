"""Scores of controls that were made before: a table that ships, and files of the user's own."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from reconeval import __version__
from reconeval.controls._scores import CONTROLS_VERSION, SEED, ControlScores

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconeval.cache._store import Store
    from reconeval.cases import Case, LatentShiftCase
    from reconeval.cases.end_to_end import ReconstructionCase
    from reconeval.metrics.registry import Metric

__all__ = [
    "FROZEN",
    "KeptScores",
    "Place",
    "content_of",
    "frozen_scores",
    "place_of",
    "read_frozen",
]

FROZEN = Path(__file__).with_name("frozen.json")


class Place(NamedTuple):
    """A dataset and split as the frozen table names them.

    Attributes
    ----------
    family
        `reconstruction`, which end_to_end and decode share, or `latent_shift`.
    dataset_sha256, split
        The cells.
    cells_sha256
        Of the rows that training and test have.
    """

    family: str
    dataset_sha256: str
    split: str
    cells_sha256: str


def place_of(case: Case) -> Place:
    """Return the place of a case; nothing is computed of its cells."""
    shift = case.task == "latent_shift"
    split = case.split
    rows = [split.train, split.test]
    rows += [getattr(split, name) for name in ("test_controls", "test_partner") if shift]
    family = "latent_shift" if shift else "reconstruction"
    return Place(family, case.dataset.sha256, split.name, _digest(rows))


def content_of(case: Case) -> str:
    """Return a checksum of all that the controls of a case are made of.

    The checksum of a user's file alone does not do: which column has the cell types, and which
    layer the counts, is the user's choice.
    """
    truth, dataset = cast("ReconstructionCase | LatentShiftCase", case).truth, case.dataset
    parts: list[Any] = [truth.X, truth.train, truth.counts, truth.library, truth.cell_types]
    names = ("embedding", "perturbation", "cell_types", "conditions", "partner")
    parts += [np.asarray(truth.genes), *(getattr(dataset, name, None) for name in names)]
    for label, descriptor in sorted(getattr(dataset, "descriptors", {}).items()):
        parts += [np.asarray([label]), descriptor]
    return _digest(parts)


def _digest(parts: Iterable[Any]) -> str:
    sha = hashlib.sha256()
    for part in parts:
        array = np.asarray("" if part is None else part)
        text = array.dtype.kind in "OU"
        content = "\0".join(map(str, array.ravel())).encode() if text else array.tobytes()
        sha.update(f"{'text' if text else array.dtype.str} {array.shape} ".encode())
        sha.update(content)
    return sha.hexdigest()


def frozen_scores(place: Place) -> Mapping[str, ControlScores]:
    """Return what the shipped table has of a place, by metric; nothing for other data."""
    return read_frozen().get(place, {})


@cache
def read_frozen(path: Path = FROZEN) -> dict[Place, dict[str, ControlScores]]:
    """Read a table that tools/make_control_scores.py wrote; one of other controls is empty."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if document["controls_version"] != CONTROLS_VERSION or document["seed"] != SEED:
        return {}
    return {
        Place(*(entry[name] for name in Place._fields)): _scores(entry["scores"])
        for entry in document["places"]
    }


def _scores(values: Mapping[str, Any]) -> dict[str, ControlScores]:
    return {name: ControlScores.from_dict(name, one) for name, one in values.items()}


class KeptScores:
    """Scores of one place among the user's finished work.

    They are found again only with the code that made them: that of reconeval, of what is
    installed, and of the metric. A metric whose code cannot be read is scored anew.

    Parameters
    ----------
    store
        The user's cache.
    place
        The place.
    case
        Its case.
    """

    def __init__(self, store: Store, place: Place, case: Case) -> None:
        from reconeval.cache._sources import environment_digest, harness_digest

        code = [__version__, harness_digest(), environment_digest()]
        key = json.dumps([CONTROLS_VERSION, SEED, *code, *place, content_of(case)])
        self._key = hashlib.sha256(key.encode()).hexdigest()
        self._about = {"kind": "data", "place": case.name}
        self._store = store

    def read(self, metric: Metric) -> ControlScores | None:
        """Return the scores by a metric, None where they are not kept or of another definition."""
        found, code = self._store.read_json(self._key, _file(metric)), _code(metric)
        if found is None or code is None or found.get("code") != code:
            return None
        with suppress(KeyError, TypeError, ValueError, AttributeError):  # scored anew
            return ControlScores.from_dict(metric.name, found)
        return None

    def write(self, metric: Metric, scores: ControlScores) -> None:
        """Keep the scores by a metric, unless it cannot be told by what code they were made."""
        code = _code(metric)
        if code is not None:
            content = {"code": code, **scores.to_dict()}
            self._store.write_json(self._key, _file(metric), content, about=self._about)


def _file(metric: Metric) -> str:
    return f"controls {metric.name} {metric.version}"


def _code(metric: Metric) -> str | None:
    from reconeval.cache._sources import UnknownCodeError, code_digest

    try:
        return code_digest(metric.compute)
    except UnknownCodeError:
        return None
