"""How pictures and tables are drawn and written."""
