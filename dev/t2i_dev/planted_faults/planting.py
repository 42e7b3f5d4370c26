"""Ways to plant a fault into the trainer from outside: other functions in their places, and feeds that spoil batches.

Whoever plants says how attributes are set: for good in a process of its own, or by pytest's `monkeypatch`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from t2i_trainer import train as loop

if TYPE_CHECKING:
    from t2i_trainer.data.feed import Batch, Feed
    from t2i_trainer.prepare import Prepared

# `setattr`, or something that can take it back.
Put = Callable[[Any, str, Any], None]
Plant = Callable[[Put], None]
Spoil = Callable[["Batch", int, "Prepared"], "Batch"]


@dataclass(frozen=True)
class SpoiledFeed:
    """A feed whose batches are spoiled; everything else is the real one's."""

    feed: Feed
    spoil: Callable[[Batch, int], Batch]

    def batch(self, step: int) -> Batch:
        """Return the spoiled batch of a step."""
        return self.spoil(self.feed.batch(step), step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.feed, name)


def wrap(put: Put, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of a function in the function's place."""
    put(owner, name, make(getattr(owner, name)))


def after_preparation(change: Callable[[Prepared], Prepared]) -> Plant:
    """Change what `prepare` returns to the training loop."""

    def plant(put: Put) -> None:
        wrap(put, loop, "prepare", lambda original: lambda *arguments, **named: change(original(*arguments, **named)))

    return plant


def spoil_batches(spoil: Spoil) -> Plant:
    """Spoil every batch that the run sees; `spoil` is given batch, step (0 is the first) and the run."""

    def change(prepared: Prepared) -> Prepared:
        feed: Any = SpoiledFeed(prepared.feed, lambda batch, step: spoil(batch, step, prepared))
        return replace(prepared, feed=feed)

    return after_preparation(change)


def change_unet(change: Callable[[Any], None]) -> Plant:
    """Change the UNet once it is built."""

    def apply(prepared: Prepared) -> Prepared:
        change(prepared.state.unet)
        return prepared

    return after_preparation(apply)
