"""A laboratory of real hosts on one machine, and the suite that injects faults there: see README.md."""
