"""How the name of a column is told from another one, whatever its spelling."""

from __future__ import annotations

import unicodedata


def normalised(name: str) -> str:
    """A name without case, accents, white space, `_`, `-`, and characters nobody sees."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(letter for letter in letters if letter not in "_-" and not _is_unseen(letter))


def _is_unseen(letter: str) -> bool:
    return letter.isspace() or unicodedata.category(letter) in ("Mn", "Cf", "Cc")
