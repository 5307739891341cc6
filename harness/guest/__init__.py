"""What runs inside a guest: the resident pytest session and its reports."""
