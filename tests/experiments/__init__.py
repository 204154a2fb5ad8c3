"""Tests of the experiments: what they share, and text generation whole."""
