"""The data sets under the import paths of the published guides, from this folder (`cd training`)."""
