"""A stand-in for `torchtext.vocab`, as far as scGPT uses it.

torchtext ended with version 0.18, whose compiled part cannot be loaded with later releases of
torch. scGPT takes from it a list of tokens that knows their positions, and nothing else, so that
is what is here. It is in `sys.modules` only while scGPT is imported, and only where torchtext
itself cannot be.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["Vocab", "torchtext_for_import", "vocab"]


class Vocab:
    """Tokens, each with its position.

    Parameters
    ----------
    tokens
        Unique tokens in order, or another vocabulary.
    """

    def __init__(self, tokens: Iterable[str] | Vocab) -> None:
        self._tokens = list(tokens.get_itos() if isinstance(tokens, Vocab) else tokens)
        self._places = {token: place for place, token in enumerate(self._tokens)}
        self._default: int | None = None

    @property
    def vocab(self) -> Vocab:
        """The vocabulary itself; torchtext keeps its compiled one here."""
        return self

    def __len__(self) -> int:
        return len(self._tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._places

    def __getitem__(self, token: str) -> int:
        place = self._places.get(token, self._default)
        if place is None:
            msg = f"Token {token} not found and default index is not set"
            raise RuntimeError(msg)
        return place

    def __call__(self, tokens: Sequence[str]) -> list[int]:
        """Return the position of each token."""
        return [self[token] for token in tokens]

    def insert_token(self, token: str, index: int) -> None:
        """Put a new token at a position, later ones moving by one."""
        if token in self._places:
            msg = f"Token {token} already exists in Vocab with index: {self._places[token]}"
            raise RuntimeError(msg)
        if not 0 <= index <= len(self):
            msg = f"Specified index {index} is out of bounds for vocab of size {len(self)}"
            raise RuntimeError(msg)
        self._tokens.insert(index, token)
        for place in range(index, len(self._tokens)):
            self._places[self._tokens[place]] = place

    def append_token(self, token: str) -> None:
        """Put a new token at the end."""
        self.insert_token(token, len(self))

    def set_default_index(self, index: int | None) -> None:
        """Set the position that unknown tokens have."""
        self._default = index

    def get_itos(self) -> list[str]:
        """Return the tokens in order."""
        return list(self._tokens)

    def get_stoi(self) -> dict[str, int]:
        """Return the position of each token."""
        return dict(self._places)


def vocab(counted: Mapping[str, int], min_freq: int = 1) -> Vocab:
    """Return the vocabulary of tokens that occur often enough, in their order.

    Parameters
    ----------
    counted
        How often each token occurs.
    min_freq
        The least number.
    """
    return Vocab(token for token, count in counted.items() if count >= min_freq)


@contextlib.contextmanager
def torchtext_for_import() -> Iterator[None]:
    """Let `import torchtext.vocab` succeed within the block, by the real one where it loads."""
    if _loads():
        yield
        return
    package, module = ModuleType("torchtext"), ModuleType("torchtext.vocab")
    names = {"Vocab": Vocab, "vocab": vocab}
    vars(module).update(names)
    vars(package).update(vocab=module)
    own = {"torchtext": package, "torchtext.vocab": module}
    sys.modules.update(own)
    try:
        yield
    finally:
        for name in own:
            del sys.modules[name]


def _loads() -> bool:
    known = set(sys.modules)
    try:
        importlib.import_module("torchtext.vocab")
    except (ImportError, OSError):  # OSError where its compiled part does not fit torch
        for name in set(sys.modules) - known:
            if name.partition(".")[0] == "torchtext":
                del sys.modules[name]
        return False
    return True
