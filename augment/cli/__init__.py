"""The command line: parse, call one function, print."""

from augment.cli.app import app, main

__all__ = ["app", "main"]
