"""``augment run``: a comparison of arms from the configuration to ``result.json``."""
