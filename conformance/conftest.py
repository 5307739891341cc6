"""Makes pytest explain assertions in the suite's helpers as it does in the tests themselves."""

import pytest

pytest.register_assert_rewrite("conformance.sockets")
