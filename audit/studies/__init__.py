"""How far to trust it: noise, comparison, power, validity."""
