"""The card in a generator's folder: what it was trained on, how it scored, how to load it."""
