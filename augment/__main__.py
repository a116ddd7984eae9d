"""``python -m augment`` is the command line."""

from augment.cli.app import main

if __name__ == "__main__":
    main()
