"""The Grafana dashboards, made from the list of metrics; `make dashboards` writes them into the chart.

`training_run` and `fleet` say what stands on them, one module a row; `promql` spells queries, `panels`, `variables` and
`annotations` hold the house style, `layout` places. Grafana Labs' foundation SDK, generated for Grafana 10.4, makes the
JSON. `reading` and below look at that JSON as Grafana would: the tests run every query of it.
"""
