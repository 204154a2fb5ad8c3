"""The pictures and the filled tables of README and of the site: `python -m docs.pictures`."""
