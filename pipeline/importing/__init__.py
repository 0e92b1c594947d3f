"""What people bring, read in one way: folders, archives, lists of labels and captions, test sets.

`folders` walks, `lists` reads tables, `archives` unpacks, `testsets` gives pictures a role. Knows no store and no
model; pictures become pixels in `pipeline/images.py` alone.
"""
