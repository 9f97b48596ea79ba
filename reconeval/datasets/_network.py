"""Say in a few words why a server did not send a file."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from reconeval.calls import one_line

if TYPE_CHECKING:
    from requests.exceptions import RequestException

__all__ = ["network_fault"]


def network_fault(error: RequestException, by_hand: str) -> str:
    """Return what went wrong and what to do about it, in one line.

    Parameters
    ----------
    error
        What requests raised.
    by_hand
        How to get the file without it.
    """
    from requests.exceptions import ChunkedEncodingError, ProxyError

    if error.response is not None:
        status = error.response.status_code
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return f"the server fails with HTTP {status}; try again later"
        return f"the server refuses with HTTP {status}, so the file may have moved; {by_hand}"
    if isinstance(error, ChunkedEncodingError):
        return "the connection broke; check the network"
    proxy = "the proxy: " if isinstance(error, ProxyError) else ""
    return f"cannot be reached ({proxy}{_root(error)}); check the network and the proxy"


def _root(error: BaseException) -> str:
    """Return the first cause: urllib3 wraps it thrice and adds its own objects and the address."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    reason = error.strerror if isinstance(error, OSError) else None
    return one_line(reason or error) or type(error).__name__
