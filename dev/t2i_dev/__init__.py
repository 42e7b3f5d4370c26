"""The development tool `t2i-dev`: real Kubernetes, S3 and Prometheus on one machine, for tests and the demo.

Nothing here ships with the product. Tools are built from pinned Go modules, run as ordinary processes in a private
directory, and leave nothing behind.
"""
