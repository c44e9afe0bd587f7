"""Trial of Reelay in a real AWS account."""
