"""Bundles: create, resolve, verify and sign them. This package is below the stages and imports none of them."""
