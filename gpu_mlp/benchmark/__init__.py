"""What `gpu-mlp bench` runs: the same work by gpu_mlp and by others, in turn, on the user's machine."""
