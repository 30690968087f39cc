"""Puts the mistake that TLBENCH_PROOF_FAULT names into transformers, in the Python that tlbench starts.

Python imports this by itself at its start, as the folder is on its PYTHONPATH.
"""

import os
import traceback

fault = os.environ.get("TLBENCH_PROOF_FAULT")
if fault:
    try:
        from faults import FAULTS

        FAULTS[fault].put()
    except BaseException:
        # Python would go on without the mistake, and its absence look like a miss.
        traceback.print_exc()
        os._exit(1)
