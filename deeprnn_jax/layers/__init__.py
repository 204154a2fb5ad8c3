"""Layers: what is around a cell, and how layers make a network."""
