"""Saving, restoring and retaining checkpoints in the layout of `t2i_checkpoint`."""
