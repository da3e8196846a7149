"""The one door: whatever is read from a file that a stranger may have written is read through here."""
