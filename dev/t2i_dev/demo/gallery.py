"""Fetches the final pictures and losses out of the bucket, and scores the pictures against their prompts."""

from dataclasses import dataclass
from pathlib import Path

from t2i_checkpoint.layout import METRICS, sample_folder
from t2i_checkpoint.store import Store
from t2i_dev.demo.plan import DemoPlan
from t2i_dev.story.emoji import EmojiRenderer
from t2i_dev.story.score import Score, Scorer, Shares, samples_of_step


@dataclass(frozen=True, slots=True)
class Gallery:
    """Local copies of what the run left in the bucket."""

    grid: Path
    metrics: Path
    score: Score

    def rows(self) -> list[tuple[str, str]]:
        """The score in words, the whole first, then each part of the set."""
        parts = [("all prompts", self.score.overall)]
        parts += [(split.value, shares) for split, shares in self.score.by_split.items()]
        return [(name, _words(shares)) for name, shares in parts]


def fetch_gallery(store: Store, plan: DemoPlan, directory: Path) -> Gallery:
    """Copy grid and losses of the last step into `directory`; raises StoreError when they are not there."""
    directory.mkdir(parents=True, exist_ok=True)
    spec = plan.job.spec
    grid, metrics = directory / "grid.png", directory / METRICS
    grid.write_bytes(store.read(f"{sample_folder(spec.training.steps)}/grid.png"))
    metrics.write_bytes(store.read(METRICS))
    scorer = Scorer(EmojiRenderer.of_this_machine().references())
    return Gallery(grid, metrics, scorer.score(samples_of_step(store, spec.training.steps, spec.sampling.prompts)))


def _words(shares: Shares) -> str:
    return (
        f"{shares.count} pictures: exact {shares.exact:.2f}, emoji in top 5 {shares.top_five:.2f}, "
        f"background {shares.background:.2f}"
    )
