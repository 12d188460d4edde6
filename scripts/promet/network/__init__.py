"""Fit set, training, selection, scores, attention."""

import os

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # memory pages of 2 MB; torch reads it at its first tensor
