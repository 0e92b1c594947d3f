"""The Labels page: what photos show whose label is a guess, by keyboard for many."""
