"""Checkpoints as people really have them: written by the libraries that they use, each with the verdict it deserves.

`row.py` says what a row is, `jobs.py` what the rows are held against, `rows_*.py` are the table, one file a kind of
program, and `make.py` writes them all.
"""
