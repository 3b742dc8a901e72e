"""The network side: what validators, operators and monitoring talk to; imports no torch."""
