"""`python -m qaqfilter` is the command `qaqfilter`."""

from qaqfilter.cli import main

main()
