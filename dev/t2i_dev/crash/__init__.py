"""The crash matrix: every side effect of save, archive and restore meets every fault, on a real S3 server."""
