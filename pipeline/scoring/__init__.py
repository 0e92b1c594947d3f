"""How well an edit did: CLIP cosines with their gates, and measures of the pictures themselves.

`clip` scores and chooses tau, `picture_quality` and `perceptual` measure. Knows no editor and no classifier.
"""
