"""Sources: datasets that are ready for the loaders, one a file."""
