"""Pictures of the dashboards with the recorded data, for the docs: Grafana itself cannot be had everywhere.

The layout, the names, the units and every value come from the dashboard's JSON and from Prometheus; only the drawing is
ours. `make dashboard-previews`.
"""
