"""Programs in other languages as the vendors' pages print them, and the bytes that each was seen to send."""
