"""Sets of cells for STATE's transition model: of one descriptor, cell type and condition each."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._pairs import as_labels, by_descriptor

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from reconeval._typing import IntArray, StrArray

    F32 = npt.NDArray[np.float32]

__all__ = ["Sets", "by_content", "drawn", "fit", "groups", "moved", "places"]

_SETS_AT_ONCE = 16


class Sets(NamedTuple):
    """The batches of a training: step `i` is drawn by the seed and `i` alone."""

    pairs: tuple[F32, F32, F32]
    groups: list[IntArray]
    set_size: int
    batch_size: int
    n_steps: int
    seed: int

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        """Return the cells of a step's sets, one set below the other."""
        import torch

        rng = np.random.default_rng([self.seed, step])
        sizes = np.array([len(group) for group in self.groups])
        chosen = rng.choice(len(sizes), self.batch_size, p=sizes / sizes.sum())
        rows = np.concatenate([drawn(rng, self.groups[one], self.set_size) for one in chosen])
        names = ("ctrl_cell_emb", "pert_cell_emb", "pert_emb")
        return {
            name: torch.from_numpy(array[rows])
            for name, array in zip(names, self.pairs, strict=True)
        }


def fit(module: Any, sets: Sets, accelerator: str, logger: Any, *, bar: bool) -> None:
    """Train the module on the sets, in order."""
    from lightning import Trainer
    from torch.utils.data import DataLoader

    trainer = Trainer(
        max_steps=sets.n_steps,
        accelerator=accelerator,
        devices=1,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=bar,
        enable_model_summary=bar,
        gradient_clip_val=10,
    )
    steps = DataLoader(range(sets.n_steps), batch_size=None, collate_fn=sets.batch)  # type: ignore[arg-type]
    trainer.fit(module, steps)
    module.trainer = None  # it holds on to the data
    module.to(trainer.strategy.root_device).eval()


def drawn(rng: np.random.Generator, rows: IntArray, n: int) -> IntArray:
    """Draw n of the rows, each as often as the others give or take one."""
    times = -(-n // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(times)])[:n]


def places(cell_type: Any, condition: Any, n: int, *, name: str) -> StrArray:
    """Return one label per row for its cell type and condition; empty where none are given."""
    if cell_type is None and condition is None:
        return as_labels(None, n, name=name)
    types = as_labels(cell_type, n, name=f"{name}: cell_type")
    conditions = as_labels(condition, n, name=f"{name}: condition")
    return np.array([f"{a}\t{b}" for a, b in zip(types, conditions, strict=True)], dtype=object)


def groups(cov: F32, where: StrArray) -> list[IntArray]:
    """Return the rows of each descriptor and place."""
    _, group = by_descriptor(cov)
    pairs = list(zip(group.tolist(), where.tolist(), strict=True))
    rows: dict[tuple[int, str], list[int]] = {}
    for row, pair in enumerate(pairs):
        rows.setdefault(pair, []).append(row)
    return [np.array(found, dtype=np.int64) for _, found in sorted(rows.items())]


def by_content(rows: IntArray, cells: F32, *, seed: int) -> IntArray:
    """Return rows of cells in an order that follows from their values and the seed alone."""
    key = str(seed).encode()
    # Adding zero makes -0.0 and 0.0 the same.
    chosen = np.ascontiguousarray(cells[rows] + 0.0)
    hashes = [hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest() for row in chosen]
    return rows[np.argsort(np.array(hashes, dtype="S8"), kind="stable")]


def moved(module: Any, cells: F32, descriptor: F32, set_size: int) -> F32:
    """Return whole sets of control cells, one below the other, as a descriptor moves them."""
    import torch

    step = _SETS_AT_ONCE * set_size
    found = []
    with torch.inference_mode():
        for start in range(0, len(cells), step):
            ctrl = torch.tensor(cells[start : start + step], device=module.device)
            cov = torch.tensor(descriptor, device=module.device).expand(len(ctrl), -1)
            found.append(module({"ctrl_cell_emb": ctrl, "pert_emb": cov}).cpu().numpy())
    return np.concatenate(found)
