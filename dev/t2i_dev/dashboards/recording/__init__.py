"""A real run, recorded once and kept: what Prometheus scraped of real trainers and the real operator.

`make dashboard-data` records anew (minutes); the tests and the previews replay the file within a second.
"""
