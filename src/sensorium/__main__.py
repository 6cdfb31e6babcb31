"""`python -m sensorium` is the `sensorium` command."""

import sys

from sensorium.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
