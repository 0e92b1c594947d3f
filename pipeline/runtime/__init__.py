"""Where models lie and where they run: hub ids and their cache, downloads, devices and precision, fingerprints.

`hub` finds and fetches, `fetching` does so in a process of its own, `devices` chooses, `fingerprints` tells models
apart, `staging` has folders appear whole. Knows no stage: what a model is for is somebody else's.
"""
