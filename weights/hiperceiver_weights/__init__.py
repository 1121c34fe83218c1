"""Trained models of hiperceiver, a folder each: files alone."""
