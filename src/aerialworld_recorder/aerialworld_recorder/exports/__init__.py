"""Sessions in the formats of other data sets: one module for each."""
