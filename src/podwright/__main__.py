"""`podwright`, also `python -m podwright`: from argv to a subcommand of `podwright.cli`, and from errors to one line.

Every error meant for people is a PodwrightError; anything else is a defect and shows its traceback.
"""

from __future__ import annotations

import os
import sys

from podwright.base.errors import PodwrightError

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell would say


def main() -> int:
    """Run the command line. The exit code is 0, 1 for an error, 2 for wrong usage, or that of an exec'd command."""
    from podwright.cli.app import build

    try:
        build(sys.argv[1:])()
    except PodwrightError as error:
        sys.stderr.write(f"podwright: {error}\n")
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output (head, less) has left. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
