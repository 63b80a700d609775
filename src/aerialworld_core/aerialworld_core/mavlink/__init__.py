"""MAVLink as both of its ends need it: frames of bytes, signatures and addresses."""
