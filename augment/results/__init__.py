"""Finished runs read again: as tables, side by side, and joined over seeds."""
