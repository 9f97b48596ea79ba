"""Which models map queries, and with what settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconeval._loading import class_of
from reconeval._settings import parse_settings, surgery_text
from reconeval.adapters.scvi import ScviModel
from reconeval.errors import UsageError
from reconeval.filling import check_keywords
from reconeval.protocols import method_parameters
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconeval.options import Options
    from reconeval.query_mapping.trainings import QueryMapper
    from reconeval.spec import ModelSpec

__all__ = ["check_offers", "mapper_of", "mapping_specs"]

_METHOD = "query_mapper"


def mapping_specs(specs: Sequence[ModelSpec], options: Options) -> list[ModelSpec]:
    """Return the models of a run as models that map queries.

    Raises
    ------
    UsageError
        If one of them does not, or the settings cannot be read.
    """
    where = f"--surgery {options.surgery}"
    surgery, others = parse_settings(options.surgery, where=where) if options.surgery else ({}, {})
    if others:
        msg = f"{where}: train.{next(iter(others))}: settings of the reference's training belong "
        msg += "to --model; write those of the query's training without train."
        raise UsageError(msg)
    for spec in specs:
        cls = class_of(spec.factory, where=f"--model {spec.source}")
        if not (issubclass(cls, ScviModel) or callable(getattr(cls, _METHOD, None))):
            msg = f"--model {spec.source}: offers no query mapping; it takes a model of scvi-tools "
            msg += f"with load_query_data, or a class with {_METHOD}()"
            raise UsageError(msg)
    return [spec.mapping(surgery) for spec in specs]


def check_offers(specs: Iterable[ModelSpec]) -> None:
    """Refuse what would fail only once the reference is trained.

    That is classes of scvi-tools without surgery, and settings of a mapping that a model does not
    take. This imports scvi-tools where it is used.

    Raises
    ------
    UsageError
        If scvi-tools gives a class no `load_query_data`, or a setting of `--surgery` does not
        exist, is not the user's to set, or is out of range.
    """
    for spec in specs:
        cls = class_of(spec.factory, where=f"--model {spec.source}")
        where = surgery_text(spec.surgery)
        if not issubclass(cls, ScviModel):
            parameters = method_parameters(cls, _METHOD)
            check_keywords(parameters, spec.surgery, where=f"{where}: {spec.name}.{_METHOD}()")
            continue
        try:
            with quiet():
                named = cls.scvi_class()
        except UsageError as error:
            msg = f"--model {spec.source}: {error}"
            raise UsageError(msg) from error
        if not callable(getattr(named, "load_query_data", None)):
            msg = f"--model {spec.source}: offers no query mapping: scvi-tools gives "
            msg += f"{named.__name__} no load_query_data; take SCVI, SCANVI or TOTALVI"
            raise UsageError(msg)
        from reconeval.adapters.scvi_mapping import check_surgery

        check_surgery(named, spec.surgery, where=where)


def mapper_of(model: Any, surgery: Mapping[str, Any], *, accelerator: str = "cpu") -> QueryMapper:
    """Return what maps queries onto a trained model.

    Parameters
    ----------
    model
        The model, trained on the reference.
    surgery
        Settings of the mapping.
    accelerator
        As for Lightning's Trainer.

    Returns
    -------
    The model's own `query_mapper(**surgery)`, or one around a model of scvi-tools.
    """
    if isinstance(model, ScviModel):
        from reconeval.adapters.scvi_mapping import ScviMapper

        return ScviMapper(model, accelerator=accelerator, **surgery)
    mapper: QueryMapper = model.query_mapper(**surgery)
    return mapper
