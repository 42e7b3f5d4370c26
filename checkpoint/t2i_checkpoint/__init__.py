"""Checkpoints as data: what lies in a bucket, whether it fits, and how it is archived; no torch, no Kubernetes."""
