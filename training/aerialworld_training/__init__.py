"""OccWorld for the air: data sets, model, training and evaluation."""

__version__ = "0.1.0"
