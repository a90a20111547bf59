"""`python -m examples.llmgateway`."""

import sys

if __name__ == "__main__":
    try:
        from examples.llmgateway.command import main  # here, so that a Ctrl-C during the imports ends quietly too

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
