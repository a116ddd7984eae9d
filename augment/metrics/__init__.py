"""How good synthetic images are: fidelity with its floor, similarity, memorisation, and the extractors behind them.

The parts take uint8 tensors ``(N, C, H, W)`` and know nothing of generators. :mod:`~augment.metrics.scores` is the one
table of all scores; reading it imports no torch.
"""
