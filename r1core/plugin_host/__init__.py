"""The rooms behind `r1core.plugins`: discovery (imports nothing), loading (guarded), observers."""
