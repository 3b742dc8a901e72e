"""What the command line can do, one command a file; heavy libraries load when one needs them."""
