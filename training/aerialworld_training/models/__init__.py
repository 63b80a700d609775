"""World models; each lives in a folder of its own."""
