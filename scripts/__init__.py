"""Programs that run under pvpython, and the shell scripts of the project."""
