"""The Explore page: a photo, its caption, variations, edits at every tau, and what the classifier makes of them."""
