"""One command that checks and measures on a card what was only planned for it."""

import logging

# When it is imported it warns of kernels for the CPU that nothing here uses.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
