"""AlertHub: from Alertmanager to the right people and to a safe agent, durably."""
