"""What the product does. Knows no HTTP framework, no SQL and no torch."""
