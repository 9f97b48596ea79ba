"""Adapters that let classes of other libraries run as they are."""
