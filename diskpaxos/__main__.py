"""``python -m diskpaxos`` is the program ``diskpaxos``."""

from _diskpaxos_start import main

main()
