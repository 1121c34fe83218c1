"""Examples in docstrings become blocks of code; mkdocstrings knows them only in sections of their own."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", flags=re.M)


class DoctestFences(griffe.Extension):
    """Puts fences around each example that stands in the text of a docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Of every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
