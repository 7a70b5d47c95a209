"""`python -m tests.e2e.slidecube ...` is the command `slidecube`, with warnings as errors."""

import warnings

warnings.simplefilter("error", ResourceWarning)

from pipeline.cli import main  # noqa: E402

main()
