"""A suite that observes, and whose observations misbehave one after another."""
