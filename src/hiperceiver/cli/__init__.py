"""The command line: `hip pretrain | finetune | evaluate | predict | plot | info`.

Nothing slow is loaded before a command runs, so that help is quick.
"""

from hiperceiver.cli.entry import main

__all__ = ["main"]
