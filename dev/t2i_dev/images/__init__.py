"""Container images without a registry: built by buildah, imported into a cluster's containerd."""
