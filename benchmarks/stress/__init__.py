"""Long runs that search for rare failures; each module is a program that prints its counts."""
