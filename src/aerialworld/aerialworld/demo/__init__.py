"""`aerialworld demo`: from a city file to an evaluated world model, step by step, resumable."""
