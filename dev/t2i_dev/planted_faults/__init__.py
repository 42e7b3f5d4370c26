"""Mistakes in a training run that people really make, planted one by one: the run's own watch must name each."""
