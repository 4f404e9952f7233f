"""Rates of matrix products, of copies and of starting operations: the limits that all other parts are compared with."""

import torch
from common import attempt, options, timed


def main() -> None:
    asked = options(__doc__)
    device, size = asked.device, 512 if asked.small else 8192

    def product(dtype: torch.dtype, tf32: bool = False) -> dict[str, object]:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = tf32
        measured = timed(lambda: a @ b, device, budget=1.0, most=20)
        torch.backends.cuda.matmul.allow_tf32 = False
        return measured | {"TFLOP/s": round(2 * size**3 / measured["ms"] / 1e9, 1)}

    for name, dtype, tf32 in (
        ("float64", torch.float64, False),
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
    ):
        attempt({"what": f"matrix product, {name}"}, lambda d=dtype, t=tf32: product(d, t))

    def copy() -> dict[str, object]:
        source = torch.randn(2**18 if asked.small else 2**29, device=device)
        target = torch.empty_like(source)
        measured = timed(lambda: target.copy_(source), device, budget=1.0)
        return measured | {"GB/s": round(2 * source.nbytes / measured["ms"] / 1e6)}

    attempt({"what": "copy"}, copy)

    def start() -> dict[str, object]:
        x = torch.zeros(32, device=device)

        def thousand() -> None:
            for _ in range(1000):
                x.add_(1.0)

        measured = timed(thousand, device, budget=1.0)
        return measured | {"µs per operation": round(measured["ms"], 2)}

    attempt({"what": "1000 small operations"}, start)


if __name__ == "__main__":
    main()
