"""What `make gpu` runs: tests, compute-sanitizer, benchmarks and a profile on a CUDA device, each stage by itself."""
