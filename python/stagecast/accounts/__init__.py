"""Accounts, the people who log in to them, and the API secrets that programs use."""
