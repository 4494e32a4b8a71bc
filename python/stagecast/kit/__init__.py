"""Small parts that know nothing of live video: each file is one idea with no product rule in it."""
