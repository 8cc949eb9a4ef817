"""Where the server is and as whom to talk to it: discovery, the command's configuration, certificates, logins."""
