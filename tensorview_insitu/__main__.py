"""`python -m tensorview_insitu COMMAND`: the same as `tensorview-insitu COMMAND`."""

from tensorview_insitu.cli.main import main

raise SystemExit(main())
