"""Files that hold data and no code, written whole or not at all."""
