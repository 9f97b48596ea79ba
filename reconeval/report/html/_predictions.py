"""What is drawn of each prediction: gene means against the truth's, and cells among the truth's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reconeval.report.html import _svg

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markupsafe import Markup

    from reconeval._typing import FloatArray
    from reconeval.report.html.material import Material, Measured, Predicted

__all__ = ["Card", "Gallery", "galleries"]

FURTHEST = 8  # genes that are named
PLUS = "m-4 0h8m-4-4v8m0-4"


@dataclass(frozen=True, slots=True)
class Card:
    """A model's pictures at a place, and the genes furthest from the truth.

    Attributes
    ----------
    model
        Its name.
    genes, cells
        The pictures; None where there is nothing to draw.
    furthest
        Name, mean of the truth and of the prediction, from the furthest.
    spread
        Standard deviation of the predicted cells over that of the measured ones, in the two
        components together; None without either.
    note
        What the pictures cannot show, empty if all is there.
    """

    model: str
    genes: Markup | None
    cells: Markup | None
    furthest: Sequence[tuple[str, float, float]]
    spread: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures of a place.

    Attributes
    ----------
    name
        `dataset/split`.
    shared
        Id of the measured cells, which all pictures of the place share.
    truth, controls
        Their paths.
    n_genes, n_cells
        How many are drawn.
    cards
        One per model.
    """

    name: str
    shared: str
    truth: str
    controls: str
    n_genes: int
    n_cells: int
    cards: Sequence[Card]


def galleries(material: Material, models: Mapping[str, int]) -> Iterator[Gallery]:
    """Return the pictures of each place, models in the order of the page.

    Parameters
    ----------
    material
        What the runs kept.
    models
        The page's models, with their numbers.
    """
    for i, measured in enumerate(material.measured.values()):
        place = (measured.dataset, measured.split)
        found = [one for one in material.predicted.values() if (one.dataset, one.split) == place]
        found = [one for one in found if one.model in models]
        if not found:
            continue
        shared = f"cells-{i}"
        bounds = _svg.window(measured.cells, measured.controls)
        yield Gallery(
            name="/".join(place),
            shared=shared,
            truth=_svg.dots(measured.cells, bounds),
            controls=_svg.dots(measured.controls, bounds, PLUS),
            n_genes=len(measured.genes),
            n_cells=len(measured.cells),
            cards=[
                _card(measured, one, shared, bounds)
                for one in sorted(found, key=lambda one: models[one.model])
            ],
        )


def _card(
    measured: Measured,
    predicted: Predicted,
    shared: str,
    bounds: tuple[float, float, float, float],
) -> Card:
    if len(predicted.means) != len(measured.means):  # of another version of the data
        note = "predicted on another version of the data than what is drawn here"
        return Card(predicted.model, None, None, (), None, note)
    notes = []
    where = f"{predicted.model} on {measured.dataset}/{measured.split}"
    furthest = _furthest(measured, predicted)
    undefined = int((~np.isfinite(predicted.means)).sum())
    if undefined:
        notes.append(f"{undefined} gene means are no numbers")
    worst = ", ".join(name for name, _, _ in furthest[:3])
    genes = _svg.scatter(
        measured.means,
        predicted.means,
        title=f"Gene means of {where}",
        description=f"{len(measured.means)} genes, prediction against truth. Furthest: {worst}.",
    )
    cells = None
    if len(predicted.cells):
        away = _svg.outside(predicted.cells, bounds)
        if away:
            notes.append(f"{away} of {len(predicted.cells)} cells lie beyond the frame")
        cells = _svg.cloud(
            shared,
            _svg.dots(predicted.cells, bounds),
            title=f"Cells of {where}",
            description=f"{len(predicted.cells)} predicted cells over the measured ones in two "
            f"principal components of the training cells; {away} beyond the frame.",
        )
    spread = _spread(measured.cells, predicted.cells)
    return Card(predicted.model, genes, cells, furthest, spread, "; ".join(notes))


def _spread(truth: FloatArray, prediction: FloatArray) -> float | None:
    """Return how far the predicted cells are apart, 1 for as far as the measured ones."""
    if not len(truth) or not len(prediction) or not np.isfinite(prediction).all():
        return None
    wide = float(truth.var(axis=0, dtype=np.float64).sum())
    return math.sqrt(float(prediction.var(axis=0, dtype=np.float64).sum()) / wide) if wide else None


def _furthest(measured: Measured, predicted: Predicted) -> list[tuple[str, float, float]]:
    """Return the genes with the largest difference of the means; what is no number comes first."""
    with np.errstate(all="ignore"):
        difference = np.nan_to_num(np.abs(predicted.means - measured.means), nan=np.inf)
    order = np.argsort(-difference, kind="stable")[:FURTHEST]
    return [(measured.genes[i], float(measured.means[i]), float(predicted.means[i])) for i in order]
