"""The way in: from a file on someone's disk to a checked folder that can be sent, opened and verified."""
