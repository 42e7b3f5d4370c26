"""What an attempt begins with, as the persisted status says it: a checkpoint, initial weights, or neither."""

from dataclasses import dataclass

from t2i_api.attempt import InitialWeightsDocument
from t2i_api.status import InitialWeightsStatus


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """At most one of the two is given."""

    resume_from: str | None = None
    initial_weights: InitialWeightsStatus | None = None

    @property
    def weights_document(self) -> InitialWeightsDocument | None:
        """The part of `attempt.json` that the trainer follows."""
        weights = self.initial_weights
        if weights is None:
            return None
        return InitialWeightsDocument(
            uri=weights.uri,
            endpoint=weights.endpoint,
            region=weights.region,
            folder=weights.folder,
            verdict=weights.verdict,
            allow_partial=weights.allow_partial,
        )
