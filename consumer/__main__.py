"""`python -m consumer` is `review-consumer`."""

import sys

from consumer.cli import main

sys.exit(main())
