"""How the trainer's log writes a time that is left; one form for training and encoding."""


def duration_text(seconds: float) -> str:
    """Return `2 h 05 min` or `3 min 20 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
