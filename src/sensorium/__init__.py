"""Sensorium: the models that taught transformers to see, and to bind sight to everything else."""

__version__ = "0.1.0"
