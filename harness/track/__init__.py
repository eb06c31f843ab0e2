"""Regression tracking: nights, what changed since, and how sure that is. See README.md beside this file."""
