"""Texts of any size, cut to what may be recorded."""

__all__ = ["shortened"]


def shortened(text: str, bytes_max: int) -> str:
    """``text`` if it takes at most ``bytes_max`` bytes, else its beginning and how long it was.
    What UTF-8 cannot write is a question mark.
    """
    if text.isascii() and len(text) <= bytes_max:
        return text
    # A letter takes a byte at least, so what lies beyond need not be looked at.
    data = text[: bytes_max + 1].encode("utf-8", "replace")
    if len(data) <= bytes_max:
        return data.decode()
    note = f"... ({len(text)} characters)"
    return data[: max(0, bytes_max - len(note))].decode("utf-8", "ignore") + note
