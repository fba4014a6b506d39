"""How good starts are found among very many: screening, trials, scans."""
