"""``python -m safelight``: the same as the command ``safelight``."""

from safelight.cli import main

main()
