"""Durations as the documents print them."""


def duration(span_us: int) -> str:
    """Hours, minutes and seconds; nothing is shorter than nothing."""
    seconds = max(span_us, 0) // 1_000_000
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
