"""Speed and memory, side by side with plain boto3: `make bench`."""
