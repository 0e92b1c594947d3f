"""How well an edit did: CLIP cosines with their gates, and measures of the pictures themselves.

`scoring` scores and chooses tau, `quality` and `perceptual` measure. Knows no editor and no classifier.
"""
