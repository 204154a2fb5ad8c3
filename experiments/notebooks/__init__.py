"""Notebooks for the first hour: a text that one writes, and what is made of it.

`NAME.md` is the source (MyST, for jupytext). `NAME.ipynb` is made of it by
`python -m experiments.notebooks build`, which executes it and keeps the outputs.
"""
