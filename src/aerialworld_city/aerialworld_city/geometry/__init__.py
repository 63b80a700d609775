"""Polygons to triangles, closed shells, the ground, simplification: arrays in, arrays out."""
