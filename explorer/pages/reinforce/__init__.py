"""The Reinforce page: a classifier learns from a set, and what came of it at every alpha."""
