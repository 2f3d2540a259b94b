"""The product's errors: each says what is wrong, where, and what to do, and carries a code to rely on.

`RequestError` means that the request was wrong; `UnreadableClip` that one file was. Everything else is a fault of the
program. Messages may be reworded; codes stay.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class CodedError(Exception):
    """An error with a code.

    Attributes
    ----------
    message : str
        For people.
    code : str
        For programs and tests: ``E_`` and words.
    """

    default_code: ClassVar[str]

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class RequestError(CodedError, ValueError):
    """A request that cannot be carried out as it was made; the message says what to do instead.

    The command line prints it as one line and exits with status 2; every other exception is status 1.
    """

    default_code = "E_REQUEST"


class UnreadableClip(CodedError):
    """A file that gives no frame to trust; the message is the reason that the report shows."""

    default_code = "E_CLIP_UNREADABLE"


def unknown(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """Build the error for a name that is not registered, with the nearest one that is.

    >>> print(unknown("extractor", "convnext_bse", ["convnext_base", "deit_base"]))
    Expected a known extractor; got 'convnext_bse'. Did you mean 'convnext_base'? [E_NAME_UNKNOWN]
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of: {', '.join(names)}."
    return RequestError(f"Expected a known {kind}; got {name!r}. {hint}", code="E_NAME_UNKNOWN")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters; its type where it has none."""
    message = error.message if isinstance(error, CodedError) else str(error)
    return (message.splitlines() or [type(error).__name__])[0][:200]
