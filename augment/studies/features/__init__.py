"""Generators as feature sources: the few-label study behind ``augment features``.

``study.py`` is the protocol; the other files are its parts.
"""
