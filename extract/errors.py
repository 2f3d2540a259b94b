"""The one error that means "the request was wrong", as opposed to "the program was"."""

import difflib
from collections.abc import Iterable


class RequestError(ValueError):
    """A request that cannot be carried out as it was made; the message says what to do instead.

    The command line prints it as one line and exits with status 2; every other exception is status 1.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """Build the error for a name that is not registered, with the nearest one that is.

    >>> print(unknown("extractor", "convnext_bse", ["convnext_base", "deit_base"]))
    Expected a known extractor; got 'convnext_bse'. Did you mean 'convnext_base'?
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of: {', '.join(names)}."
    return RequestError(f"Expected a known {kind}; got {name!r}. {hint}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters; its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
