"""The errors that AerialWorld raises on purpose: each names the file or element at fault and the way out."""


class AerialWorldError(Exception):
    """Base of every expected failure: the command prints its text, without a traceback, and exits with `exit_code`."""

    exit_code = 1


class InputError(AerialWorldError):
    """An input that cannot be used: a missing file, a file of another kind, a value out of range."""

    exit_code = 2


class UnsafeInputError(InputError):
    """An input that is refused because reading it could harm: entities, DOCTYPE, traversal, bombs."""


class WorldError(InputError):
    """A world, model or rig file that cannot be loaded."""


class SessionError(InputError):
    """A session that cannot be read or written."""


class PlanError(InputError):
    """A mission that cannot be planned or a plan file that cannot be read."""


class MavlinkError(InputError):
    """A MAVLink address, key or link that cannot be used."""
