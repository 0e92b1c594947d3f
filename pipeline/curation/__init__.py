"""From verdicts to frozen sets, and out of the house: what is listed, what makes a set, how it is exported.

`catalogue` keeps counterfactuals and decisions in memory, `selection` says what counts, `quotas` what a set takes,
`exporting` writes it. Knows no model and no page.
"""
