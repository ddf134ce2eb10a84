"""Names that enter the history: of types, handlers, steps and variables."""

from flowactor.errors import CallerError, InvalidInput
from flowactor.limits import NAME_BYTES_MAX

__all__ = ["checked_name"]


def checked_name(name: object, what: str, error: type[CallerError] = InvalidInput) -> str:
    """``name``, if it can be recorded.

    Raises:
        InvalidInput: (or ``error``) it is no text, empty, or longer than ``NAME_BYTES_MAX``.
    """
    if not isinstance(name, str) or not name:
        raise error(f"the name of a {what} is a text, not {name!r:.80}")
    try:
        size = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError as cause:
        raise error(f"the name of a {what} cannot be stored: {cause}") from None
    if size > NAME_BYTES_MAX:
        raise error(f"the name of a {what} has {size} bytes, {NAME_BYTES_MAX} are allowed")
    return name
