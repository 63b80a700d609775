"""Source files as tiles: read once, kept on disk, made side by side."""
