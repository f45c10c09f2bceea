"""`python -m alerthub` is the command `alerthub`."""

from alerthub.cli import main

main()
