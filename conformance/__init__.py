"""The conformance suite: Zig's 41 IoUring tests, the plugin that sends them into guests, and the agent there."""
