"""Where the server is and as whom to talk to it: local discovery, certificates."""
