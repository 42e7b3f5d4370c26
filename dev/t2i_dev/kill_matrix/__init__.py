"""The kill matrix: real training runs that are killed at random moments, held against one that is left alone."""
