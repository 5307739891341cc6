"""What is observed is collected from here."""
