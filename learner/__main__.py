"""``python -m learner`` is the command ``learner``."""

from learner.commands import main

if __name__ == "__main__":
    main()
