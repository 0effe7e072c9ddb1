"""A partner's set-up: its steps, what Graph is asked in each, and what is said of the answers."""
