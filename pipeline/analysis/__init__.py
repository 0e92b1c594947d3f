"""What counterfactuals say of a classifier, with the uncertainty of every figure; photos are the unit.

`weakness` counts by class and factor, `clusters` by words, `thresholds` suggests gates, `edit_quality` measures a run's
edits. Knows no page and asks no model.
"""
