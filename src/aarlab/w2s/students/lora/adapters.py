"""peft's adapters with our arithmetic: one pass over memory where peft's own forward makes four.

    y = x W' + b + s (x A') B'        dx = dy W + s (dy B) A        dA = s (dy B)' x        dB = s dy' (x A')

peft multiplies the adapter's output by s and adds it to y as tensors of their own, forward and backward; at rank 8 that
costs more than the adapter's products. Here both are accumulated in place. peft still makes, names, initialises and
removes the adapters.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn import functional


class _Adapted(torch.autograd.Function):  # type: ignore[misc,unused-ignore]
    """x: (..., in); weight: (out, in), frozen; a: (r, in); b: (out, r)."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ a.T
        y = functional.linear(flat, weight, bias).addmm_(low, b.T, alpha=scale)
        ctx.save_for_backward(flat, low, weight, a, b)
        ctx.scale, ctx.shape = scale, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        flat, low, weight, a, b = ctx.saved_tensors
        g = gradient.reshape(-1, gradient.shape[-1])
        back = (g @ b).mul_(ctx.scale)
        dx = (g @ weight).addmm_(back, a).view(ctx.shape) if ctx.needs_input_grad[0] else None
        return dx, None, None, back.T @ flat, (g.T @ low).mul_(ctx.scale), None


def fuse(dressed: Any) -> None:
    """Have every adapter of a peft model (named `default`, without dropout, on a torch Linear) compute as above."""
    for module in dressed.modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            module.forward = partial(_forward, module)


def _forward(module: Any, x: Any) -> Any:
    base = module.base_layer
    a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
    return _Adapted.apply(x, base.weight, base.bias, a, b, module.scaling["default"])
