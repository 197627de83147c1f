"""What the roles of this device's people are called: one table, for pages and commands."""

from __future__ import annotations

from edgehemo.records.users import Role
from edgehemo.words.language import Words


def role_name(words: Words, role: Role) -> str:
    """What somebody of a role is; the role's own name is what commands take."""
    _ = words._
    return {
        "operator": _("Health worker"),
        "supervisor": _("Supervisor"),
        "engineer": _("Engineer"),
    }[role]


def role_work(words: Words, role: Role) -> str:
    """What somebody of a role may do, beside screening samples."""
    _ = words._
    return {
        "operator": _("screens samples"),
        "supervisor": _("sees all results"),
        "engineer": _("sets up the device"),
    }[role]
