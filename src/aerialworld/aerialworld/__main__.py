"""`python -m aerialworld` is the `aerialworld` command."""

from aerialworld.cli import main

main()
