"""Documented runs: each module says its command, its cost and what it measured."""
