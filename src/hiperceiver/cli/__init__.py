"""The command line: `hip COMMAND`, the commands being those of `entry.COMMANDS`.

Nothing slow is loaded before a command runs, so that help is quick.
"""

from hiperceiver.cli.entry import main

__all__ = ["main"]
