"""Taps: numbers out of the compiled training step, one backend a file."""
