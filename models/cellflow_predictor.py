"""CellFlow, flow matching from control to perturbed cells, as a predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reconeval._ranges import check_least, check_positive

from ._cellflow_data import CONTROL, PERTURBATION, REP, cells_of, conditions, device_of, on, one_hot
from ._extras import check_extra, silence
from ._files import load_arrays, save_arrays
from ._pairs import as_labels, as_pairs, as_queries

if TYPE_CHECKING:
    import os

    import numpy.typing as npt
    from anndata import AnnData

    F32 = npt.NDArray[np.float32]

__all__ = ["CellFlowPredictor"]

# Cells are predicted that many at a time: JAX compiles anew for each number of rows.
_CHUNK = 32


class CellFlowPredictor:
    """Move control cells along a flow that CellFlow learns, given a descriptor.

    CellFlow (Klein et al. 2025, doi 10.1101/2025.04.11.648220) matches control cells with
    perturbed cells by optimal transport, within each cell type and condition where these are
    given, and trains a velocity field between them. Cells are predicted one by one, so neither
    their order nor the others matter; a descriptor does not have to be among those of training.

    Needs cellflow-tools and JAX: `pip install 'reconeval[cellflow]'`, in an environment of its
    own where `reconeval[state]` is wanted as well.

    Parameters
    ----------
    embed_dim, cov_dim
        Widths of embeddings and descriptors.
    n_hidden
        Width of the two layers of each part of the velocity field.
    n_condition
        Width of the embedding of perturbation and covariates.
    flow_noise
        Standard deviation of the noise along a path, relative to that of all training values:
        the embedding is divided by it, so that no option depends on an embedding's scale.
    time_max_period
        Highest frequency in the encoding of time, in radians; time goes from 0 to 1. With the
        package's default of 10 000 the flow is so rough that its solution differs in the second
        decimal between machines, and takes 50 times as long.
    lr
        Learning rate of Adam.
    seed
        Seeds the weights. CellFlow itself always draws its batches by the same seed.

    Raises
    ------
    UsageError
        CellFlow is not installed, or an option has a value that cannot be.
    """

    def __init__(
        self,
        embed_dim: int,
        cov_dim: int,
        *,
        n_hidden: int = 256,
        n_condition: int = 32,
        flow_noise: float = 1.0,
        time_max_period: int = 10,
        lr: float = 1e-3,
        seed: int = 0,
    ) -> None:
        check_extra("cellflow", model="CellFlowPredictor", extra="cellflow")
        widths = {"n_hidden": n_hidden, "n_condition": n_condition}
        check_least("CellFlowPredictor", 1, **widths, time_max_period=time_max_period)
        check_positive("CellFlowPredictor", lr=lr)
        check_positive("CellFlowPredictor", zero=True, flow_noise=flow_noise)
        self.embed_dim = embed_dim
        self.cov_dim = cov_dim
        self.n_hidden = n_hidden
        self.n_condition = n_condition
        self.flow_noise = flow_noise
        self.time_max_period = time_max_period
        self.lr = lr
        self.seed = seed
        self.covariates: dict[str, list[str]] = {}
        self._flow: Any = None
        self._device: Any = None
        self._scale = 1.0

    def train(
        self,
        ctrl_emb: Any,
        pert_emb: Any,
        pert_cov: Any,
        *,
        cell_type: Any = None,
        condition: Any = None,
        iterations: int = 1000,
        batch_size: int = 128,
        accelerator: str = "auto",
        enable_progress_bar: bool = False,
        seed: int | None = None,
    ) -> None:
        """Fit the flow, from fresh weights.

        Parameters
        ----------
        ctrl_emb, pert_emb
            Arrays of shape (n_cells, embed_dim). CellFlow pairs cells itself, so of a row it is
            only used that both cells have the same cell type and condition.
        pert_cov
            Array of shape (n_cells, cov_dim): the descriptor of each row's perturbation.
        cell_type, condition
            Labels of shape (n_cells,): covariates of control and perturbed cell. Transport stays
            within them and the velocity field knows them; None: all cells are alike.
        iterations
            Steps of training.
        batch_size
            Cells of each side per step.
        accelerator
            `cpu`, `gpu`, or `auto` for what JAX takes by default. The model stays there.
        enable_progress_bar
            Show CellFlow's progress and messages; otherwise nothing is printed.
        seed
            Seeds the weights; default the constructor's.

        Raises
        ------
        UsageError
            The arrays or labels do not fit the model or one another.
        """
        name = "CellFlowPredictor.train"
        check_least(name, 1, iterations=iterations, batch_size=batch_size)
        ctrl, pert, cov = as_pairs(
            ctrl_emb, pert_emb, pert_cov, name=name, embed_dim=self.embed_dim, cov_dim=self.cov_dim
        )
        given = {"cell_type": cell_type, "condition": condition}
        labels = {
            key: as_labels(value, len(ctrl), name=f"{name}: {key}")
            for key, value in given.items()
            if value is not None
        }
        covariates = {key: sorted(set(value)) for key, value in labels.items()}
        device = device_of(accelerator)
        with silence(enable_progress_bar), on(device):
            scale = float(np.concatenate([ctrl, pert]).std()) or 1.0
            cells = cells_of(ctrl / scale, pert / scale, cov, labels, covariates)
            flow = self._build(cells, list(covariates), self.seed if seed is None else seed)
            flow.train(iterations, batch_size=batch_size, valid_freq=iterations + 2)
        self.covariates, self._flow, self._device = covariates, flow, device
        self._scale = scale

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
            Labels of shape (n_cells,), used where training had them. One that training did not
            hold counts as unknown, as None does for all.

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
        self._check_trained()
        name = "CellFlowPredictor.predict"
        ctrl, cov = as_queries(
            ctrl_emb, pert_cov, name=name, embed_dim=self.embed_dim, cov_dim=self.cov_dim
        )
        given = {"cell_type": cell_type, "condition": condition}
        known = {
            key: one_hot(as_labels(given[key], len(ctrl), name=f"{name}: {key}"), categories)
            for key, categories in self.covariates.items()
        }
        out = np.empty_like(ctrl)
        with silence(), on(self._device):
            for condition_of, rows in conditions(cov, known):
                for start in range(0, len(rows), _CHUNK):
                    chunk = rows[start : start + _CHUNK]
                    filled = ctrl[np.resize(chunk, _CHUNK)] / np.float32(self._scale)
                    moved = np.asarray(self._flow.solver.predict(filled, condition_of))
                    out[chunk] = moved[: len(chunk)] * np.float32(self._scale)
        return out

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained model to one safetensors file, without CellFlow's pickle."""
        from flax.traverse_util import flatten_dict

        self._check_trained()
        state = self._flow.solver.vf_state_inference
        arrays = {
            name: np.asarray(value) for name, value in flatten_dict(state.params, sep="/").items()
        }
        config = {**self._settings, "covariates": self.covariates, "scale": self._scale}
        save_arrays(path, arrays, model="CellFlowPredictor", config=config)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote, on JAX's default device."""
        from flax.traverse_util import unflatten_dict

        arrays, config = load_arrays(path, model="CellFlowPredictor")
        covariates, scale = config.pop("covariates"), config.pop("scale")
        model = cls(**config)
        device = device_of("auto")
        with silence(), on(device):
            # CellFlow sets its network up from data: one cell of each side has all the widths.
            ctrl, cov = np.zeros((1, model.embed_dim), "f4"), np.ones((1, model.cov_dim), "f4")
            labels = {
                key: np.array(categories[:1], dtype=object)
                for key, categories in covariates.items()
            }
            cells = cells_of(ctrl, ctrl, cov, labels, covariates)
            flow = model._build(cells, list(covariates), model.seed)
            import jax.numpy as jnp

            params = {name: jnp.asarray(value) for name, value in arrays.items()}
            state = flow.solver.vf_state_inference
            flow.solver.vf_state_inference = state.replace(params=unflatten_dict(params, sep="/"))
            flow.solver.is_trained = True
        model.covariates, model._flow, model._device = covariates, flow, device
        model._scale = scale
        return model

    @property
    def _settings(self) -> dict[str, Any]:
        networks = ("embed_dim", "cov_dim", "n_hidden", "n_condition", "time_max_period")
        return {name: getattr(self, name) for name in (*networks, "flow_noise", "lr", "seed")}

    def _build(self, cells: AnnData, covariates: list[str], seed: int) -> Any:
        """Return an untrained CellFlow for these cells."""
        import optax
        from cellflow.model import CellFlow

        flow = CellFlow(cells, solver="otfm")
        flow.prepare_data(
            sample_rep=REP,
            control_key=CONTROL,
            perturbation_covariates={PERTURBATION: [PERTURBATION]},
            perturbation_covariate_reps={PERTURBATION: PERTURBATION},
            sample_covariates=covariates or None,
            sample_covariate_reps={key: key for key in covariates} or None,
            split_covariates=covariates or None,
            max_combination_length=1,
        )
        layers = ({"layer_type": "mlp", "dims": [self.n_hidden]},)
        widths = [self.n_hidden, self.n_hidden]
        flow.prepare_model(
            # Every condition is a set of one element here: there is nothing to attend to.
            pooling="mean",
            layers_before_pool=layers,
            layers_after_pool=layers,
            condition_embedding_dim=self.n_condition,
            cond_output_dropout=0.0,
            time_freqs=min(self.n_hidden, 1024),
            time_max_period=self.time_max_period,
            time_encoder_dims=widths,
            hidden_dims=widths,
            decoder_dims=widths,
            probability_path={"constant_noise": self.flow_noise},
            optimizer=optax.adam(self.lr),
            seed=seed,
        )
        return flow

    def _check_trained(self) -> None:
        if self._flow is None:
            msg = "CellFlowPredictor is not trained: call train(ctrl_emb, pert_emb, pert_cov) first"
            raise RuntimeError(msg)
