"""The main job, end to end, as `make demo` shows it and as the end-to-end test asserts it: one code for both."""
