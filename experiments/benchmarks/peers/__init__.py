"""The libraries that are compared, one a file."""
