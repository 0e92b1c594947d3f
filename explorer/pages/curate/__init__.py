"""The Curate page: pairs one after the other, verdicts by key, and the sets that come of them."""
