"""What a folder holds beside clips, counted in one line."""

from collections import Counter
from collections.abc import Iterable

# Code -> what one such entry is called, and several.
WORDS = {
    "E_FILE_KIND": (
        "file that is neither an image nor a video by its name",
        "files that are neither images nor videos by their names",
    ),
    "E_FILE_NAME": (
        "file not named as its data set names them",
        "files not named as their data set names them",
    ),
    "E_FILE_UNEXPLAINED": (
        "file that no rule of the data set explains",
        "files that no rule of the data set explains",
    ),
    "E_FOLDER_UNEXPLAINED": (
        "folder that no rule of the data set explains",
        "folders that no rule of the data set explains",
    ),
    "E_LAYOUT_UNKNOWN": ("entry that is no known data set", "entries that are no known data sets"),
    "E_FILE_SPECIAL": ("entry that is not a regular file", "entries that are not regular files"),
    "E_LINK_LOOP": ("link back to a folder that it lies in", "links back to folders that they lie in"),
    "E_LINK_BROKEN": ("link to a file that does not exist", "links to files that do not exist"),
    "E_FOLDER_NOT_READ": ("folder that cannot be read", "folders that cannot be read"),
    "E_SOURCE_UNKNOWN": ("fake whose source is unknown", "fakes whose source is unknown"),
}
NO_CLIPS = frozenset(WORDS) - {"E_SOURCE_UNKNOWN"}  # what may lie beside clips and says nothing of them


def passed_over(codes: Iterable[str], *, where: str = "") -> list[str]:
    """Count entries by the code of the reason why each is no clip.

    Returns
    -------
    list of str
        One line, the commonest first; none where nothing was passed over.

    >>> passed_over(["E_LINK_LOOP", "E_FILE_KIND", "E_FILE_KIND"])[0]
    'Passed over: 2 files that are neither images nor videos by their names, 1 link back to a folder that it lies in.'
    """
    counted = Counter(codes).most_common()
    kinds = [f"{count:,} {WORDS[code][count > 1]}" for code, count in counted]
    return [f"Passed over{where and f' in {where}'}: {', '.join(kinds)}."] if kinds else []
