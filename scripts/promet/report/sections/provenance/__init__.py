"""Warnings, wall times, software and configuration."""
