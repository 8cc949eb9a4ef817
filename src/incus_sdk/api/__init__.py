"""The groups of the API: one module for each area, most of it declarative on `base`."""
