"""Naive Bayes over the CNN score, the clinic and the PET; exact Shapley values."""
