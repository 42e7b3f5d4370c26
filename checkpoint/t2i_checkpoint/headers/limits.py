"""Bounds that every format shares."""

MAX_TENSORS = 20_000  # of a checkpoint; an SDXL UNet has 1,680, its AdamW state twice as many
