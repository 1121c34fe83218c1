"""The typed tree of settings: command line, YAML, recipes and `config.json` are views of it. No torch here."""
