"""The hub: asked directly, so that one that does not answer costs seconds, once, and never hangs."""

import functools
import threading
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

FILE = "model.safetensors"
SECONDS = 8.0  # a hub that has not answered by then is taken as out of reach for the rest of the run


def cached(repository: str) -> Path | None:
    """Find a repository's weights in the hub's cache on this machine; asks no network."""
    found = try_to_load_from_cache(repository, FILE)
    return Path(found) if isinstance(found, str) else None


def download(repository: str) -> Path | None:
    """Fetch a repository's weights; None where the hub does not answer.

    Raises
    ------
    OSError and the hub's own errors
        The hub answers but the file does not come: not passed over in silence.
    """
    return Path(hf_hub_download(repository, FILE)) if answers() else None


@functools.cache
def answers() -> bool:
    """Ask the hub once a process whether it is there."""
    replies: list[bool] = []
    # A thread, because name look-ups and proxies can hang longer than any timeout that can be passed down.
    question = threading.Thread(target=lambda: replies.append(_ask()), daemon=True)
    question.start()
    question.join(SECONDS)
    return bool(replies and replies[0])


def _ask() -> bool:
    try:
        get_hf_file_metadata(hf_hub_url("timm/mobilenetv2_100.ra_in1k", "config.json"), timeout=SECONDS)
    except Exception:  # no network, no proxy, offline mode: whatever it is, the hub is not there
        return False
    return True
