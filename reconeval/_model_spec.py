"""A model as the user named it: how it is built and trained, once all is checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from reconeval._settings import settings_id, surgery_id, surgery_text
from reconeval.filling import fill
from reconeval.offers import OFFERED
from reconeval.sweep import swept_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconeval.filling import Offer

__all__ = ["ModelSpec"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelSpec:
    """A model as the user named it.

    Attributes
    ----------
    id
        Unique in a run; the alias, or the class with its settings. Letters, digits, `_:+-./`.
    source
        What the user typed.
    target
        `MODULE:CLASS`.
    task
        One of `reconeval.protocols.TASKS`.
    kwargs, train_kwargs
        What the user wrote for the constructor and for `train`.
    exceptions
        Checks of the contract that the model is known to fail, with the reason.
    factory
        Makes the model: the class, a function, or an adapter around a class.
    embedding
        Of a decoder: the name of the embedding that it decodes, and what was typed for it.
    surgery
        Of a model that maps queries: what the user wrote for that by `--surgery`.
    swept
        The texts of the values that `--sweep` gave it.
    """

    id: str
    source: str
    target: str
    task: str
    factory: Callable[..., Any] = field(repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    train_kwargs: Mapping[str, Any] = field(default_factory=dict)
    exceptions: Mapping[str, str] = field(default_factory=dict)
    embedding: tuple[str, str] | None = None
    surgery: Mapping[str, Any] = field(default_factory=dict)
    swept: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The target with its settings, and the embedding: the same whatever the alias."""
        name = f"/{self.embedding[0]}" if self.embedding else ""
        settings = settings_id(self.kwargs, self.train_kwargs) + surgery_id(self.surgery)
        return self.target + settings + name

    @property
    def typed(self) -> str:
        """What the user typed, for results."""
        typed = self.source + swept_text(self.swept)
        typed = f"{typed} {self.embedding[1]}" if self.embedding else typed
        return f"{typed} {surgery_text(self.surgery)}" if self.surgery else typed

    def decoding(self, name: str, option: str) -> ModelSpec:
        """Return the spec of the same decoder on an embedding.

        Parameters
        ----------
        name
            Of the embedding; becomes part of the id, so that results on two embeddings are
            never taken for those of one model.
        option
            What the user typed for it.
        """
        return replace(self, id=f"{self.id}/{name}", embedding=(name, option))

    def mapping(self, surgery: Mapping[str, Any]) -> ModelSpec:
        """Return the same model as one that maps queries with these settings, part of its id."""
        name = self.id + surgery_id(surgery)
        return replace(self, id=name, task="query_mapping", surgery=surgery)

    @property
    def name(self) -> str:
        """The name of the class, without its module."""
        return self.target.rpartition(":")[2]

    def build(self, offers: Mapping[str, Offer]) -> Any:
        """Make the model, its arguments filled by name.

        Parameters
        ----------
        offers
            As `reconeval.offers.constructor_offers` makes them.

        Returns
        -------
        A new, untrained model.

        Raises
        ------
        UsageError
            If the constructor requires what nothing offers; errors of the model's own pass.
        """
        where = f"{self.source}: {self.name}()"
        args, kwargs = fill(self.factory, offers, self.kwargs, where=where)
        return self.factory(*args, **kwargs)

    def train(self, model: Any, offers: Mapping[str, Offer]) -> object:
        """Train the model, the arguments of `train` filled by name.

        Parameters
        ----------
        model
            What `build` returned.
        offers
            As `reconeval.offers.train_offers` makes them.

        Returns
        -------
        What the model's `train` returns: nothing of use, but a generator says that it did not run.

        Raises
        ------
        UsageError
            If `train` requires what nothing offers; errors of the model's own pass.
        """
        return self.training(model, offers)()

    def training(self, model: Any, offers: Mapping[str, Offer]) -> Callable[[], object]:
        """Return the call of `train` with its arguments made, so that a timing covers it alone.

        Parameters and errors are those of `train`.
        """
        where = f"{self.source}: {self.name}.train()"
        offered = OFFERED[self.task]
        args, kwargs = fill(
            model.train,
            offers,
            self.train_kwargs,
            where=where,
            lone=offered.lone,
            reserved=offered.train,
        )
        return partial(model.train, *args, **kwargs)
