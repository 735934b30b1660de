"""Predictions as files, reports and pictures."""
