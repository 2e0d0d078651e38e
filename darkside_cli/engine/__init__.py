"""What runs networks and knows none of them: devices, precision, memory."""
