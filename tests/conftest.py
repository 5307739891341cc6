"""What every test may rely on, however the tests were started."""

import signal

# A job in the background of a shell inherits that Ctrl-C is ignored, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
