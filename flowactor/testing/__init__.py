"""For people who test what they build on flowactor."""
