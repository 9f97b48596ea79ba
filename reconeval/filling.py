"""Fill a call's arguments by their names, the way pytest passes fixtures."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

__all__ = ["Offer", "check_keywords", "fill", "hint", "listed", "plan", "signature_of"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_SHOWN = 16


@dataclass(frozen=True, slots=True)
class Offer:
    """A value for an argument of that name, made when something takes it.

    Attributes
    ----------
    make
        Makes the value.
    only_if_required
        Leave an argument that has a default of its own alone.
    """

    make: Callable[[], Any]
    only_if_required: bool = False


def hint(name: str, known: Iterable[str], verb: str = "has", *, most: int = _SHOWN) -> str:
    """Return what to add to "no such name": the nearest known one, and what there is.

    Parameters
    ----------
    name
        What the user wrote.
    known
        Names that there are.
    verb
        Introduces them.
    most
        How many of them are listed.

    Returns
    -------
    "; did you mean b? (has a, b, c)", without the question where no name is near.
    """
    known = list(known)
    near = get_close_matches(name, known, n=1)
    question = f"; did you mean {near[0]}?" if near else ""
    return f"{question} ({verb} {listed(known, most=most)})"


def listed(names: Iterable[str], *, most: int = _SHOWN) -> str:
    """Return names separated by commas, cut where there are many; "nothing" if there is none."""
    names = list(names)
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join(names[:most] + more) or "nothing"


def signature_of(call: Callable[..., Any]) -> inspect.Signature | None:
    """Return a signature, or None where it cannot be read (compiled code)."""
    try:
        return inspect.signature(call)
    except (TypeError, ValueError):
        return None


def check_keywords(
    parameters: Iterable[inspect.Parameter] | None, user: Iterable[str], *, where: str
) -> None:
    """Refuse a name that the call does not take.

    Parameters
    ----------
    parameters
        Parameters of the call, without `self`; None if unknown, then all names pass.
    user
        Names that the user wrote.
    where
        Begins the message and ends with the call: "--model m:Foo?a=1: Foo()".

    Raises
    ------
    UsageError
        Naming the nearest parameter and those that there are.
    """
    if parameters is None:
        return
    parameters = list(parameters)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
    for name in user:
        if name not in known:
            msg = f"{where} takes no {name!r}{hint(name, known, 'takes')}"
            raise UsageError(msg)


def plan(
    parameters: Iterable[inspect.Parameter],
    offered: Collection[str],
    user: Collection[str],
    *,
    where: str,
    lone: str | None = None,
    reserved: Collection[str] = (),
) -> dict[str, str]:
    """Decide which offer each parameter gets, without making any.

    Parameters
    ----------
    parameters
        Parameters of the call, without `self`.
    offered
        Names on offer.
    user
        Names that the user wrote; they win.
    where
        Begins the message and ends with the call.
    lone
        The offer that goes to the only required positional parameter, whatever its name, and to
        `*args` where there is no positional parameter.
    reserved
        Names that have a meaning and are not on offer now: they never get `lone`.

    Returns
    -------
    Parameter name to offered name.

    Raises
    ------
    UsageError
        If a required parameter is left without a value.
    """
    parameters = list(parameters)
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    chosen = {p.name: p.name for p in parameters if p.name in offered and p.name not in user}
    missing = [
        p
        for p in parameters
        if p.default is p.empty
        and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}
        and p.name not in chosen
        and p.name not in user
    ]
    if lone is not None and not positional:
        chosen |= {p.name: lone for p in parameters if p.kind is p.VAR_POSITIONAL}
    elif lone is not None:
        required = [p for p in positional if p.default is p.empty]
        if required == missing and len(missing) == 1 and missing[0].name not in reserved:
            chosen[missing.pop().name] = lone
    if missing:
        needs = " and ".join(repr(p.name) for p in missing)
        msg = f"{where} needs {needs}, which nothing offers; write a value in the model's "
        msg += f"settings or a default in the code (on offer: {listed(sorted(offered))})"
        raise UsageError(msg)
    return chosen


def fill(
    call: Callable[..., Any],
    offers: Mapping[str, Offer],
    user: Mapping[str, Any],
    *,
    where: str,
    lone: str | None = None,
    reserved: Collection[str] = (),
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Fill a call's arguments.

    A value that the user wrote wins; then an offer of the parameter's name; a parameter with a
    default that is neither written nor offered keeps it. `**kwargs` gets only what the user
    wrote.

    Parameters
    ----------
    call
        A class, function or bound method.
    offers
        What can be had, by name; only what is taken is made.
    user
        What the user wrote, by name.
    where
        Begins the message of an error and ends with the call.
    lone, reserved
        As in `plan`.

    Returns
    -------
    Positional and keyword arguments for the call.

    Raises
    ------
    UsageError
        If the call does not take a name that the user wrote, or requires one that nothing offers.
    """
    signature = signature_of(call)
    if signature is None:
        return (), dict(user)
    parameters = signature.parameters
    check_keywords(parameters.values(), user, where=where)
    chosen = plan(parameters.values(), offers, user, where=where, lone=lone, reserved=reserved)
    args: list[Any] = []
    keywords: dict[str, Any] = {}
    for name, parameter in parameters.items():
        offer = offers[chosen[name]] if name in chosen else None
        if (
            offer is not None
            and offer.only_if_required
            and parameter.default is not parameter.empty
        ):
            offer = None
        if parameter.kind is parameter.POSITIONAL_ONLY:
            # A default keeps the place of those that follow.
            value = offer.make() if offer else parameter.default
            args.append(user.get(name, value))
        elif parameter.kind is parameter.VAR_POSITIONAL and offer:
            args.append(offer.make())
        elif offer:
            keywords[name] = offer.make()
    names = {p.name for p in parameters.values() if p.kind is p.POSITIONAL_ONLY}
    written = {name: value for name, value in user.items() if name not in names}
    return tuple(args), keywords | written
