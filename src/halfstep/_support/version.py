"""The version of this library, where every room can see it."""

__version__ = "0.1.0"
