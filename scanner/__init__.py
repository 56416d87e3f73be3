"""credaudit: from an AWS Organization to evidence, and from evidence to findings."""

__version__ = "0.1.0"
