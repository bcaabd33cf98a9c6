"""Long runs that look for rare faults; each module is a program of its own and prints what it counted."""
