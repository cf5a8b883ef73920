"""Speed and memory of qaqfilter, measured beside other ways to get the same numbers."""
