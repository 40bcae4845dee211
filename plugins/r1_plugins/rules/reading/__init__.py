"""What the rules read texts with: numbers, units, scripts and languages, passages without code and formulas."""
