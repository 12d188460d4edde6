"""SqueezeNet's layers and gradients on CPU, compiled."""
