"""One module per format: a file in, its features and triangles out."""
