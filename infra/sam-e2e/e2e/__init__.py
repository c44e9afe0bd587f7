"""The deployed system, driven from outside."""
