"""`python -m tq.broker` is `tq-broker`."""

from tq.broker.main import main

raise SystemExit(main())
