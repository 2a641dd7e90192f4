"""Where gradients go over training, and through what part of a wave."""
