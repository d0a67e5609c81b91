"""The six networks, one file each: the architecture, and how its published checkpoints are read."""
