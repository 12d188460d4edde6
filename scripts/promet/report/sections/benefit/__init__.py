"""Calibration and decision curves."""
