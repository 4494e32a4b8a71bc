"""Stagecast: self-hosted live video, from a camera to many screens in under a second."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("stagecast")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0"
