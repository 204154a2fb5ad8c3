"""What Sphinx is told beyond its settings, a topic a module."""
