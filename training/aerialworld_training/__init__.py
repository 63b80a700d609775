"""OccWorld for the air: data sets, model, training and evaluation."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Forecaster", "FutureFrames"]

if TYPE_CHECKING:
    from aerialworld_training.forecaster import Forecaster, FutureFrames


def __getattr__(name: str) -> Any:
    """The public classes, imported when they are asked for: reading a config needs no model."""
    if name in __all__:
        from aerialworld_training import forecaster

        return getattr(forecaster, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
