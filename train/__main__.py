"""`python -m train DATA …`."""

from train.cli import main

main()
