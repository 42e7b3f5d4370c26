"""All rows of the corpus, and a check that their names are their own."""

from typing import Final

from t2i_dev.corpus import (
    rows_accelerate,
    rows_adapters,
    rows_archived,
    rows_diffusers,
    rows_distributed,
    rows_hostile,
    rows_own,
    rows_single_files,
    rows_torch,
    rows_true_headers,
)
from t2i_dev.corpus.row import Row

ROWS: Final[tuple[Row, ...]] = (
    *rows_own.ROWS,
    *rows_diffusers.ROWS,
    *rows_accelerate.ROWS,
    *rows_torch.ROWS,
    *rows_single_files.ROWS,
    *rows_adapters.ROWS,
    *rows_distributed.ROWS,
    *rows_archived.ROWS,
    *rows_true_headers.ROWS,
    *rows_hostile.ROWS,
)
