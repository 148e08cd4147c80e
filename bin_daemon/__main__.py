"""`python -m bin_daemon` is `bin-daemon`."""

import sys

from bin_daemon.cli import main

sys.exit(main())
