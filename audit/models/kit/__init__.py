"""What adapters are made of; knows torch, knows no model."""
