"""What changes the parameters: randomness, optimizers, schedules, one training step, and the loop over epochs."""
