"""The model under study, of whichever library: opened from a folder or a hub, tried, asked, and given another head.

`classification` is the interface, `families` and `networks` know the libraries, `trial` refuses what cannot work,
`labels` is the one rule for names of classes. Knows no caption and no edit.
"""
