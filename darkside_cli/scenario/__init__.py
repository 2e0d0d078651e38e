"""gandtr's scenario files: read, resolved, and planned as steps."""
