"""What somebody may do: read rows, write them and send files, or all of it."""

from __future__ import annotations

from typing import Final, Literal

from chalicelib.errors import Refused

Role = Literal["reader", "writer", "owner"]
ROLES: Final[tuple[Role, ...]] = ("reader", "writer", "owner")  # each may what those before it may
GRANTED: Final[tuple[Role, ...]] = ("reader", "writer")  # an owner is whose it is


def hold_to(role: Role, needs: Role) -> None:
    """Raise Refused `role_forbids` (403) if a role is below the one that is needed."""
    if ROLES.index(role) < ROLES.index(needs):
        raise Refused("role_forbids", f"A {role} may not do this: it takes a {needs}.", status=403)
