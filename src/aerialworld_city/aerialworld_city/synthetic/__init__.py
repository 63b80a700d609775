"""The small made-up city."""
