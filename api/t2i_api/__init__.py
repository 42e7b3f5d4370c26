"""What operator, trainer and command line agree on; pure data: no I/O, no torch, no kopf, no kubernetes."""
