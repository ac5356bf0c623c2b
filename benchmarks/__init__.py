"""The engine against its peers, measured in one run on one machine. See README.md here."""
