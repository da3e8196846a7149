"""The demonstration: real data, a network, a recorded training."""
