"""What is written to disk and read back: model files and run folders."""
