"""The conformance suite: Zig's 41 IoUring tests, the pytest plugin that sends them into guests, and the agent that runs them there."""
