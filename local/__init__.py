"""The whole deployment on one machine: set-up, brokers, supervisor, demo, ledger, scorecard."""
