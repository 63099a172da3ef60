"""The version; a room of its own, since rooms that name it in files are imported by the package."""

__version__ = "0.1.0"
