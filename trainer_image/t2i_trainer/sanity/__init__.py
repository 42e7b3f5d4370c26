"""The sanity gate: what a training run must look like, derived from its spec, and who looks."""
