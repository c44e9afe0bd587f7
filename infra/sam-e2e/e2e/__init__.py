"""End-to-end test of the deployed stack."""
