"""A development node for machines without root or Linux: pods as ordinary processes, on a real control plane.

Isolation is what it lacks: no images, no namespaces, no limits. Docs: docs/development-node.md.
"""
