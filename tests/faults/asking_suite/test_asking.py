"""A test beside what is observed."""


def test_beside_it() -> None:
    assert 1 + 1 == 2
