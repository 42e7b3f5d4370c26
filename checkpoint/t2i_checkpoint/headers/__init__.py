"""One module a file format: names and shapes only, from a few ranged reads; input is hostile until checked."""
