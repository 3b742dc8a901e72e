"""A validator to test a pulling miner against: the subnet's rules, without its models and chain."""
