"""The lanes of a world's roads, found in its surfaces: what traffic and rovers drive on (extra
`aerialworld_core[world]`)."""
