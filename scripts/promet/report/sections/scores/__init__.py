"""Scores of the patients in no part of the study."""
