"""SqueezeNet on CPU as compiled loops, its gradients written out. The one door is ``features``; a GPU never loads this folder."""

from promet.network.cpu.fused import features

__all__ = ["features"]
