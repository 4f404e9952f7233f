"""Neighbour searches of vesin on the processor, and of nvalchemi on the GPU where it is installed, to 6 Å."""

from common import attempt, options, silicon, timed

from esen.graph.batch import make_graph


def main() -> None:
    asked = options(__doc__)
    for atoms in (64, 216) if asked.small else (216, 1000, 4096):
        frame = silicon(atoms)
        for backend in ("vesin", "nvalchemi"):
            attempt(
                {"backend": backend, "atoms": atoms},
                lambda f=frame, b=backend: timed(
                    lambda: make_graph(f, 6.0, b).to(asked.device), asked.device, budget=1.0
                ),
            )


if __name__ == "__main__":
    main()
