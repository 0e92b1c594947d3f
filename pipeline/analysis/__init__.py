"""What counterfactuals say of a classifier, with the uncertainty of every figure; photos are the unit.

`weakness` counts by class and factor, `comparison` sets two classifiers side by side, `clusters` counts by words,
`thresholds` suggests gates, `edit_quality` measures a run's edits. Knows no page and asks no model.
"""
