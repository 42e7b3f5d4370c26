"""Say what is being done and how long it took: set-up takes minutes, and silence looks like a hang."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

HEARTBEAT_SECONDS = 30.0


@dataclass(slots=True)
class Progress:
    """Prints one line a stage with its elapsed time, and remembers the times for a summary."""

    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    quiet: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print one line."""
        if not self.quiet:
            self.console.print(text)

    @contextmanager
    def stage(self, name: str, hint: str = "") -> Iterator[None]:
        """Announce a stage, keep saying that it runs, and print its time at the end."""
        begin = time.monotonic()
        finished = threading.Event()
        self.say(f"[bold]{name}[/bold] …{f' ({hint})' if hint else ''}")
        heartbeat = threading.Thread(target=self._heartbeat, args=(name, begin, finished), daemon=True)
        heartbeat.start()
        try:
            yield
        finally:
            finished.set()
            heartbeat.join()
        self.seconds[name] = time.monotonic() - begin
        self.say(f"[green]✓[/green] {name}: {self.seconds[name]:.1f} s")

    def summary(self) -> None:
        """A table of all stages so far."""
        table = Table("stage", "seconds")
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds:.1f}")
        if not self.quiet:
            self.console.print(table)

    def _heartbeat(self, name: str, begin: float, finished: threading.Event) -> None:
        while not finished.wait(HEARTBEAT_SECONDS):
            self.say(f"  … {name}: {time.monotonic() - begin:.0f} s so far")
