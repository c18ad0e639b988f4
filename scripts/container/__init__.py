"""Runs the steps of the Dockerfile without Docker: `scripts/container.sh`."""
