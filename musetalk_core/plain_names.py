"""Names that can be given to a file or folder on every system."""

from __future__ import annotations

import unicodedata

LONGEST = 64
REMEDY = (
    f"Use up to {LONGEST} letters, digits, spaces, dots, underscores and hyphens, "
    "no dot at either end and no space at the last, and no name of a Windows device."
)
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(10))}


def is_plain(name: str) -> bool:
    """Whether it is a name of letters of any script, digits, spaces, ``.``, ``_`` and ``-``; see `REMEDY`."""
    plain = all(unicodedata.category(c)[0] in "LM" or unicodedata.category(c) == "Nd" or c in " ._-" for c in name)
    device = name.split(".")[0].rstrip().upper() in _DEVICES
    return plain and not device and name[:1] not in ("", ".") and name[-1] not in ". " and len(name) <= LONGEST


def shown(name: str) -> str:
    """A name that is not plain, for an error: quoted, and not endless."""
    return repr(name[: 2 * LONGEST])
