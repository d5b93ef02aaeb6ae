"""Studies of how far audit can be trusted: noise, comparison, power, validity."""
