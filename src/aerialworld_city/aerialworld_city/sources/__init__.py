"""What the user points at: files, folders, archives, and which part of them is wanted."""
