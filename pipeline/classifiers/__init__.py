"""The model under study, of whichever library: opened from a folder or a hub, tried, asked, and given another head.

`base` is the interface and timm's classifiers, `families` those of other libraries, `sources` tells them apart, `trial`
refuses what cannot work, `labels` is the one rule for names of classes. Knows no caption and no edit.
"""
