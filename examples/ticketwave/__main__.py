"""`python -m examples.ticketwave`."""

import sys

if __name__ == "__main__":
    try:
        from examples.ticketwave.command import main  # here, so that a Ctrl-C during the imports ends quietly too

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
