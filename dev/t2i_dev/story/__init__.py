"""What the demo needs besides a cluster: captioned pictures, a text encoder, the old UNet's checkpoints, the score."""
