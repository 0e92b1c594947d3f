"""The tiny profile: a drawn world with known truth, and small models trained on it."""
