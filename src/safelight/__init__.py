"""Safelight: an image-generation API that people run on their own hardware."""

__version__ = "0.1.0"
