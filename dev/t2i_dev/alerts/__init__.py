"""The alerts, in Python so that none names a metric that nobody exports; `make alerts` writes them as rule files.

`alert` says what an alert is; `training`, `checkpoints` and `operator` are the alerts; `catalogue` lists them; `render`
makes rule files. Each has a page in docs/runbooks/, and in tests/dev/alerts/ a case in which it fires and a twin in
which it must not.
"""
