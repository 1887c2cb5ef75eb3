"""`python -m tq.config` prints the reference tables for `docs/configuration.md`."""

import sys

from tq.config.reference import reference

if __name__ == "__main__":
    sys.stdout.write(reference())
