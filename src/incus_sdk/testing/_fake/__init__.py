"""An Incus server in the process. See `Fake`."""
