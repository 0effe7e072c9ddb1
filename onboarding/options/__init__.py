"""The auth options: one adapter each, and the one look-up of them."""
