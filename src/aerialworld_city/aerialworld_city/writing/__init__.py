"""What is written: meshes, looks and textures, SDF, previews."""
