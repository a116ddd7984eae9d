"""What is done with one generator: train it, sample, score, describe it on a card, begin a new one."""
