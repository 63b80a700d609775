"""The subcommands, one module each; every stage is imported only when its command runs."""
