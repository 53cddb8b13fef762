"""``python -m diskpaxos`` is the program ``diskpaxos``."""

from diskpaxos.cli import main

main()
