"""AlertHub: from Alertmanager to the right people and to a safe agent, durably."""

__version__ = "0.1.0"
