"""Test kit: for our own tests and for those of everyone who builds on Salon."""
