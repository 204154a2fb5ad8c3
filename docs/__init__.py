"""The site: its pages, what draws their pictures, and what builds them (`conf.py`)."""
