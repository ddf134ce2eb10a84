"""``python -m flowactor``."""

from flowactor.cli import main

if __name__ == "__main__":
    main()
