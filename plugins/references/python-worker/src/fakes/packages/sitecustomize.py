"""What an administrator lets happen whenever Python starts."""

import os

from happens import happen

if lock := os.environ.get("FAKE_LOCK"):
    import fcntl

    # Held as long as this process lives.
    held = open(lock, "w")
    fcntl.flock(held, fcntl.LOCK_EX)

happen(os.environ.get("FAKE_START"))
