"""Statistics that know nothing of counterfactuals: `intervals` with photos as the unit, and `projection` (PCA)."""
