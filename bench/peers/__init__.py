"""Other lease managers, measured beside diskpaxos on the same storage where they are installed."""
