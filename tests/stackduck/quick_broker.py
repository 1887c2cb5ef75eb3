"""`python -m tests.stackduck.quick_broker`: tq-broker, but for its pace, which is that of these tests."""

from __future__ import annotations

import sys
from functools import partial
from unittest.mock import patch

from tests.stackduck.pace import PACE
from tq.broker.adapters.stackduck import backend
from tq.broker.main import main

if __name__ == "__main__":
    # No setting: brokers that share a deployment have to agree on it.
    with patch.object(backend, "Settings", partial(backend.Settings, pace=PACE)):
        sys.exit(main())
