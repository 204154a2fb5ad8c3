"""Worked tasks on real data; each folder is run as `python -m experiments.<name>`.

The library never imports from here. `common/` holds what several tasks share.
"""
