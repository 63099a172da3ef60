"""``python -m noisyfit``."""

import sys

from .cli import main

sys.exit(main())
