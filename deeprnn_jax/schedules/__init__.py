"""Ways to run the same layers: same parameters, same numbers, another order of work."""
