"""Synthetic images: how many, made from what, which are kept, and how they are used."""
