"""The roles: pure functions from a policy and the machine's facts to the state one part of the chain needs."""
