"""The server: this machine alone unless told otherwise, no telemetry, nothing from elsewhere."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hiperceiver.serve.answers import Answerer

_POLICY = "; ".join(
    (
        "default-src 'self' data: blob:",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "object-src 'none'",
    )
)
"""Browsers load nothing from other machines for this page."""


@contextmanager
def serving(
    answerer: Answerer, *, folder: Path, host: str, port: int | None, share: bool, max_upload: int
) -> Iterator[str]:
    """Give the page out while the context lasts, at the address that comes.

    Args:
        answerer: who answers.
        folder: for uploaded files, new; whoever made it removes it.
        host: address to listen at.
        port: of it; None: the first free one from 7860 on.
        share: whether Gradio's servers make the page reachable from everywhere.
        max_upload: bytes of a file.

    `ValueError`: it cannot be listened at; `check_address` says so sooner, and why.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    from starlette.middleware import Middleware

    from hiperceiver.serve.page import CSS, THEME, build_page

    page = build_page(answerer).queue(max_size=32, default_concurrency_limit=1)
    try:
        _, local, shared = page.launch(
            server_name=host,
            server_port=port,
            share=share,
            max_file_size=max_upload,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            footer_links=[],
            ssr_mode=False,
            enable_monitoring=False,
            _frontend=False,  # do not give up where this machine is too busy to answer itself within 3 seconds
            theme=THEME,
            css=CSS,
            app_kwargs={"middleware": [Middleware(_Headers)], "docs_url": None, "redoc_url": None},
        )
    except OSError as error:
        raise ValueError(f"port: cannot be listened at: {error}") from None
    try:
        yield shared or local
    finally:
        page.close(verbose=False)


def check_address(host: str, port: int | None) -> None:
    """Refuse what cannot be listened at; without a port, what cannot at any."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise ValueError(f"host: expected a name or address of this machine, got {host!r}: {error.strerror}") from None
    except OSError as error:
        name = "host" if port is None else "port"
        got = repr(host) if port is None else f"{port} of {host!r}"
        raise ValueError(f"{name}: cannot be listened at: {error.strerror}, got {got}") from None


class _Headers:
    """Puts the policy into every answer."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
                own["referrer-policy"] = "no-referrer"
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in own.items())]
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)
