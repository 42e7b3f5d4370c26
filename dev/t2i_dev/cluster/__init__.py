"""A real Kubernetes cluster on one machine: `LocalCluster.start(...)`, or `t2i-dev cluster up`."""

from t2i_dev.cluster.local_cluster import LocalCluster

__all__ = ["LocalCluster"]
