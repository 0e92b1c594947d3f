"""A classifier learns from counterfactuals: features once, a head trained, theta(alpha), figures before and after.

`reinforcement` is the whole of it, `heads` the recipes, `training_data` and `splits` what it learns from and is
measured on, `saving` and `runs` what is kept. Knows no page, and no store but through the pictures that it is given.
"""
