"""What people bring, read in one way: folders, archives, lists of labels and captions, test sets.

`folders` walks, `lists` reads tables in each of the `list_formats`, `archives` unpacks, `testsets` gives pictures a
role, and `texts` is what all do with words. Knows no store and no model; pictures become pixels in
`pipeline/images.py` alone.
"""
