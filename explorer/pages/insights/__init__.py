"""The Insights page: where a classifier is weak, with the edits behind every figure."""
