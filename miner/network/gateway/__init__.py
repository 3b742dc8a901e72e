"""Work from the subnet's gateways: the client, the intake, and a gateway to test against."""
