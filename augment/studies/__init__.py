"""What all studies have in common: their life from a plan to a finished folder."""
