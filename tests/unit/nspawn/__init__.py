"""What podwright-nspawn decides before it does anything."""
