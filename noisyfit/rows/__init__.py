"""Inputs and labels of users as rows by number, whatever they lie in."""
