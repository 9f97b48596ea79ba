"""One label for each perturbation, and the single perturbations that a combination is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from reconeval._typing import StrArray

__all__ = ["canonical_label", "relabelled", "single_parts"]

_JOIN = "+"


def single_parts(label: str, join: str = _JOIN) -> tuple[str, ...]:
    """Return the single perturbations in a label, sorted and each once; or the label itself."""
    parts = [part.strip() for part in label.split(join)]
    # An empty part shows that the sign belongs to a name, as in `CD4+`.
    return tuple(sorted(set(parts))) if all(parts) else (label,)


def canonical_label(label: str, control: str, join: str = _JOIN) -> str:
    """Return the one label of a perturbation that a file may write in several ways.

    Parameters
    ----------
    label
        What the file says of a cell.
    control
        The label of control cells.
    join
        What stands between the parts of a combination.

    Returns
    -------
    The parts in alphabetic order, each once and without the control: `A+B` for `B+A`, `A` for
    `A+control`, the control for `control+control`.
    """
    parts, nothing = single_parts(label, join), single_parts(control, join)
    kept = () if parts == nothing else [part for part in parts if (part,) != nothing]
    return join.join(kept) or control


def relabelled(
    labels: StrArray, control: str, join: str = _JOIN
) -> tuple[StrArray, dict[str, str]]:
    """Give each cell its perturbation's one label; also returns the new ones of those changed."""
    old, where = np.unique(labels, return_inverse=True)
    new = np.asarray([canonical_label(str(label), control, join) for label in old])
    changed = {str(a): str(b) for a, b in zip(old, new, strict=True) if a != b}
    return new[where], changed
