"""The command line and the tables it reads and writes."""
