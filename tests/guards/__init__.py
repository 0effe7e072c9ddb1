"""Guards shown able to fail: each is taken out in a copy of the checkout, and the test that holds it must fail."""
