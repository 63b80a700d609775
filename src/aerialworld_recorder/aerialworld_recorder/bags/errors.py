"""The error of bags that cannot be read."""

from __future__ import annotations

from aerialworld_core.errors import InputError


class BagError(InputError):
    """A bag that cannot be read, or not to its end; the message names the file and what is wrong."""
