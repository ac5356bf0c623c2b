"""How others speak to us. Translates; decides nothing. Vendors' spellings live and die here."""
