"""Bugs planted into a copy of the tree, to show that the tests turn red: a test that cannot fail proves nothing."""
