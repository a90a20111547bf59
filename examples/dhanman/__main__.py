"""`python -m examples.dhanman`."""

import sys

if __name__ == "__main__":
    try:
        from examples.dhanman.command import main  # here, so that a Ctrl-C during the imports ends quietly too

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
