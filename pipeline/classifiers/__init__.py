"""The model under study, of whichever library: opened from a folder or a hub, tried, asked, and given another head.

`base` is what all classifiers do, `families` opens those of each library, `sources` tells them apart, `trial` refuses
what cannot work, `labels` is the one rule for names of classes, `shifts` how two predictions differ. Knows no caption
and no edit.
"""
