"""STATE's transition model, a transformer over sets of cells, as a predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from reconeval._ranges import check_least, check_positive
from reconeval.errors import UsageError

from ._extras import check_extra, silence
from ._files import load_arrays, save_arrays
from ._pairs import as_pairs, as_queries
from ._state_sets import Sets, by_content, drawn, fit, groups, moved, places

if TYPE_CHECKING:
    import os

    import numpy.typing as npt
    import torch

    F32 = npt.NDArray[np.float32]

__all__ = ["STATEPredictor"]


class STATEPredictor:
    """Predict sets of cells with the transition model of STATE.

    The model (Adduri et al. 2025, doi 10.1101/2025.06.26.661135) attends to all cells of a set
    and is trained by the energy distance between the predicted and the measured set. A set holds
    one descriptor, cell type and condition. Without a decoder to genes the package ends the model
    in a ReLU, which no embedding with negative values survives; here it is the identity.

    A prediction depends on the set that a cell is in, so all sets have `set_size` cells, in
    training as in prediction. To predict, the cells of a descriptor, cell type and condition are
    put in an order that a seeded hash of their own values gives, cut into sets, and the last set
    is filled with training controls of the same cell type and condition. So the order of the rows
    makes no difference, and other cells make one only within descriptor, cell type and condition.

    Needs arc-state: `pip install 'reconeval[state]'`, in an environment of its own where
    `reconeval[cellflow]` is wanted as well.

    Parameters
    ----------
    embed_dim, cov_dim
        Widths of embeddings and descriptors.
    set_size
        Cells of a set; the published models take 512.
    n_hidden
        Width of the transformer, a multiple of `n_heads`.
    n_layers, n_heads
        Its depth, and attention heads per layer.
    lr
        Learning rate of Adam.
    seed
        Seeds weights, the sets of training and the order of cells.

    Attributes
    ----------
    module
        The trained Lightning module of arc-state; None before training.

    Raises
    ------
    UsageError
        arc-state is not installed, or an option has a value that cannot be.
    """

    contract_exceptions: ClassVar[dict[str, str]] = {
        "batch_composition": "attends to all cells of a set, and smaller batches make other sets",
        "other_cells": "attends to all cells of a set by design",
    }

    def __init__(
        self,
        embed_dim: int,
        cov_dim: int,
        *,
        set_size: int = 64,
        n_hidden: int = 128,
        n_layers: int = 4,
        n_heads: int = 4,
        lr: float = 1e-3,
        seed: int = 0,
    ) -> None:
        check_extra("state.tx", model="STATEPredictor", extra="state")
        sizes = {"n_hidden": n_hidden, "n_layers": n_layers, "n_heads": n_heads}
        check_least("STATEPredictor", 1, set_size=set_size, **sizes)
        check_positive("STATEPredictor", lr=lr)
        if n_hidden % n_heads:
            msg = f"STATEPredictor: n_hidden={n_hidden} is no multiple of n_heads={n_heads}"
            raise UsageError(msg)
        self.embed_dim = embed_dim
        self.cov_dim = cov_dim
        self.set_size = set_size
        self.n_hidden = n_hidden
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.lr = lr
        self.seed = seed
        self.module: Any = None
        self._fill: dict[str, F32] = {}

    def train(
        self,
        ctrl_emb: Any,
        pert_emb: Any,
        pert_cov: Any,
        *,
        cell_type: Any = None,
        condition: Any = None,
        max_steps: int = 1000,
        batch_size: int = 8,
        accelerator: str = "auto",
        enable_progress_bar: bool = False,
        logger: Any = False,
        seed: int | None = None,
    ) -> None:
        """Fit to sets drawn from paired rows, from fresh weights.

        Parameters
        ----------
        ctrl_emb, pert_emb
            Arrays of shape (n_cells, embed_dim): a control cell and the perturbed cell beside it.
        pert_cov
            Array of shape (n_cells, cov_dim): the descriptor of each row's perturbation.
        cell_type, condition
            Labels of shape (n_cells,), of both cells of a row; None: all cells are alike.
        max_steps
            Steps of training.
        batch_size
            Sets per step, each of a descriptor, cell type and condition drawn by its cells.
        accelerator, enable_progress_bar, logger
            As for Lightning's Trainer. Without a progress bar nothing is printed.
        seed
            Seeds weights and sets; default the constructor's. The global state of torch is left
            as it was.

        Raises
        ------
        UsageError
            The arrays or labels do not fit the model or one another, or a number is below 1.
        """
        import torch

        name = "STATEPredictor.train"
        check_least(name, 1, max_steps=max_steps, batch_size=batch_size)
        pairs = as_pairs(ctrl_emb, pert_emb, pert_cov, name=name, **self._widths)
        ctrl, _, cov = pairs
        where = places(cell_type, condition, len(ctrl), name=name)
        seed = self.seed if seed is None else seed
        rng = np.random.default_rng(seed)
        sets = Sets(pairs, groups(cov, where), self.set_size, batch_size, max_steps, seed)
        with (
            silence(enable_progress_bar),
            torch.random.fork_rng(range(torch.cuda.device_count())),
        ):
            torch.manual_seed(seed)
            module = self._build()
            fit(module, sets, accelerator, logger, bar=enable_progress_bar)
        self._fill = {
            place: ctrl[drawn(rng, np.flatnonzero(where == place), self.set_size)]
            for place in sorted(set(where))
        }
        self._fill.setdefault("", ctrl[drawn(rng, np.arange(len(ctrl)), self.set_size)])
        self.module = module

    def predict(
        self, ctrl_emb: Any, pert_cov: Any, *, cell_type: Any = None, condition: Any = None
    ) -> F32:
        """Predict the perturbed embedding of control cells.

        Parameters
        ----------
        ctrl_emb
            Array of shape (n_cells, embed_dim).
        pert_cov
            Array of shape (n_cells, cov_dim).
        cell_type, condition
            Labels of shape (n_cells,): a set holds one of each. Sets of labels that training did
            not hold are filled with training controls of any; None: all cells are alike.

        Returns
        -------
        Array of shape (n_cells, embed_dim), float32.

        Raises
        ------
        RuntimeError
            The model is not trained.
        UsageError
            The arrays or labels do not fit the model or one another.
        """
        self._trained()
        name = "STATEPredictor.predict"
        ctrl, cov = as_queries(ctrl_emb, pert_cov, name=name, **self._widths)
        where = places(cell_type, condition, len(ctrl), name=name)
        out = np.empty_like(ctrl)
        for rows in groups(cov, where):
            order = by_content(rows, ctrl, seed=self.seed)
            fill = self._fill.get(where[rows[0]], self._fill[""])
            cells = np.concatenate([ctrl[order], fill[: -len(order) % self.set_size]])
            out[order] = moved(self.module, cells, cov[rows[0]], self.set_size)[: len(order)]
        return out

    def to(self, device: str | torch.device) -> Self:
        """Move the trained model to a device such as `cpu` or `cuda`, and return it."""
        self._trained().to(device)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file."""
        weights = self._trained().state_dict()
        arrays = {f"module.{name}": value.cpu().numpy() for name, value in weights.items()}
        arrays["fill"] = np.stack(list(self._fill.values()))
        names = ("set_size", "n_hidden", "n_layers", "n_heads", "lr", "seed")
        settings = {name: getattr(self, name) for name in names}
        config = {**self._widths, **settings, "places": list(self._fill)}
        save_arrays(path, arrays, model="STATEPredictor", config=config)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote, on the CPU."""
        import torch

        arrays, config = load_arrays(path, model="STATEPredictor")
        labels = config.pop("places")
        model = cls(**config)
        model._fill = dict(zip(labels, arrays.pop("fill").astype("f4"), strict=True))
        with silence(), torch.random.fork_rng([]):
            module = model._build()
        weights = {name.removeprefix("module."): value for name, value in arrays.items()}
        module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        model.module = module.eval()
        return model

    @property
    def _widths(self) -> dict[str, int]:
        return {"embed_dim": self.embed_dim, "cov_dim": self.cov_dim}

    def _build(self) -> Any:
        """Return an untrained transition model."""
        from state.tx.models.state_transition import StateTransitionPerturbationModel
        from torch import nn

        backbone = {
            "bidirectional_attention": True,
            "max_position_embeddings": self.set_size,
            "hidden_size": self.n_hidden,
            "intermediate_size": 4 * self.n_hidden,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_heads,
            "head_dim": self.n_hidden // self.n_heads,
            "use_cache": False,
            "tie_word_embeddings": False,
            # The words of a language model, which there are none of here.
            "vocab_size": 3,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        module = StateTransitionPerturbationModel(
            input_dim=self.embed_dim,
            hidden_dim=self.n_hidden,
            output_dim=self.embed_dim,
            pert_dim=self.cov_dim,
            # Its default, GPT2, cannot be built with recent versions of transformers.
            transformer_backbone_key="llama",
            transformer_backbone_kwargs=backbone,
            output_space="embedding",
            embed_key="X_emb",
            cell_set_len=self.set_size,
            n_encoder_layers=1,
            n_decoder_layers=1,
            dropout=0.0,
            lr=self.lr,
        )
        module.relu = nn.Identity()
        return module

    def _trained(self) -> Any:
        if self.module is None:
            msg = "STATEPredictor is not trained: call train(ctrl_emb, pert_emb, pert_cov) first"
            raise RuntimeError(msg)
        return self.module
