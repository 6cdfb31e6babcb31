"""Other people's weight files, read and written under their own names."""
