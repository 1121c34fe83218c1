"""What systems and programs leave in folders: no reader looks at it."""

import re

SYSTEM_NAMES = {
    *("@eadir", "#recycle", "@recycle", "@tmp", "@recently-snapshot", "$recycle.bin", "recycler", "recycled"),
    *("system volume information", "lost+found", "network trash folder", "temporary items", "thefindbycontentfolder"),
    *("__macosx", "__pycache__", "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini", "_gsdata_"),
}
"""What systems leave in folders, in small letters."""


def is_leftover(name: str) -> bool:
    """Whether a file or folder is hidden or was left by a system: no reader looks at it.

    >>> is_leftover(".DS_Store"), is_leftover("@eaDir"), is_leftover("~$1.csv"), is_leftover("1.jpg")
    (True, True, True, False)
    """
    small = name.lower()
    return small.startswith((".", "~$")) or small in SYSTEM_NAMES or re.fullmatch(r"found\.\d{3}", small) is not None
