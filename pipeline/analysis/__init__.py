"""What counterfactuals say of a classifier, with the uncertainty of every figure; photos are the unit.

`weakness` counts by class and factor, `insights` by words, `thresholds` suggests gates, `landscape` draws the map,
`appraisal` measures a run's edits, `intervals` holds the statistics. Knows no page and asks no model.
"""
