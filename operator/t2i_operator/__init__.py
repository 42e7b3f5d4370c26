"""The operator: watches jobs, judges their checkpoints, runs their attempts. Kopf pumps events; `decide` decides."""
