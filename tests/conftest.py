"""Makes the rooms importable before the folders of the same names below `tests`.

pytest puts this folder onto the path. An editable installation is asked only after the path, and there `tests/uring`
looks like a package called `uring`.
"""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

# A job in the background of a shell inherits that Ctrl-C is ignored (under nohup the hang-up, too), and so would the
# programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
