"""Lets ``python -m audit`` do the same as ``audit``."""

from __future__ import annotations

from audit.commands.main import main

if __name__ == "__main__":
    main()
