"""Results, the matrix derived from them, and the site."""
