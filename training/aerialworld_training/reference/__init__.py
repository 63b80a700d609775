"""Reference sets: recorded inputs and outputs of OccWorld, and the comparison of our model with them."""
