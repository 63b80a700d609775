"""Vehicles that move by the forces on them, and the goals that guide them."""
