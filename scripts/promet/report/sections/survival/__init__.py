"""Kaplan-Meier curves, AUC over time, probabilities at the horizon."""
