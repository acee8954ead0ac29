"""Make foreign text safe for a terminal and for a line of a log."""


def printable(text: str) -> str:
    """Return the text with every control, format and unassigned character escaped, so that it stays on its line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
