"""The maths: parameters, the forward pass, losses, the backward pass, and their check."""
