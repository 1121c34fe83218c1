"""`hip serve`: a page in the browser on which a trained model answers."""

import tempfile
import threading
from pathlib import Path

from hiperceiver.cli.answering import open_model
from hiperceiver.cli.errors import renamed
from hiperceiver.extras import import_part
from hiperceiver.serve.server import check_address, serving
from hiperceiver.settings.commands import ServeSettings

_MIB = 2**20


def run(settings: ServeSettings) -> int:
    """Give the page out until Ctrl-C."""
    with renamed({"host": "--host", "port": "--port"}):
        check_address(settings.host, settings.port)  # before anything slow
    import_part("gradio")
    with tempfile.TemporaryDirectory(prefix="hip-serve-") as name:
        uploads, written = Path(name, "uploads"), Path(name, "written")
        model = open_model(settings, written)
        own = {"host": settings.host, "port": settings.port, "share": settings.share}
        with (
            renamed({"port": "--port"}),
            serving(model, folder=uploads, max_upload=settings.max_upload * _MIB, **own) as at,
        ):
            print(f"{settings.checkpoint} answers at {at} (Ctrl-C ends it)", flush=True)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                print("ended", flush=True)
    return 0
