"""What several experiments share, one topic a module."""
