"""The trainer image's program: distributed text-to-image training with exact resume."""
