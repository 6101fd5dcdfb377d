"""Bundles: create, resolve, verify and sign them. This package lies under the stages."""
