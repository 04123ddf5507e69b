"""`python -m sorter` is `sorter`."""

from sorter.cli.app import main

main()
