"""The command line `t2i` (and `kubectl t2i`): what the operator would say of a job or bucket, before it is applied."""
