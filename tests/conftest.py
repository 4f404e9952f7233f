"""What several tests share."""

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

import tests.typecheck  # noqa: F401  # the import hook looks it up by this name

if TYPE_CHECKING:  # nothing of esen may be imported before the hook
    from esen.study.train import TrainingResult

# One thread: the tensors of the tests are too small to share out.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell makes what it starts in the background ignore Ctrl-C, which several tests press.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The shapes in the signatures are checked at run time wherever tensors pass.
install_import_hook(
    ["esen.graph", "esen.models", "esen.train", "esen.md", "esen.evaluate"], "tests.typecheck.check"
)

# The same examples every time; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("fixed", deadline=None, derandomize=True, max_examples=50, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=500, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow store for all tests: making one takes seconds, on a busy machine more than a tracker waits."""
    from esen.track.mlflow_tracker import open_client

    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    open_client(uri).search_experiments()
    return uri


@pytest.fixture(scope="session")
def trained_run(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> "TrainingResult":
    """One tiny training from beginning to end, tracked: 9 frames to train on, 3 to test, 6 steps."""
    from esen.study.train import run_training
    from tests.train.small import crystals, recipe_of, write_frames

    folder = tmp_path_factory.mktemp("trained")
    recipe = recipe_of(
        write_frames(folder / "train.xyz", crystals(9)),
        data__test=[{"path": str(write_frames(folder / "test.xyz", crystals(3, seed=7)))}],
        tracking={"enabled": True, "uri": mlflow_uri, "experiment": "trained"},
    )
    return run_training(recipe, folder / "run", device="cpu")


@pytest.fixture
def torch_cluster_searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many structures torch_cluster was asked about, call by call. vesin answers for it."""
    import esen.graph.backends.torch_cluster
    from esen.data.neighbours import find_pairs

    asked: list[int] = []

    def make_finder() -> Any:
        return lambda searches: asked.append(len(searches)) or map(find_pairs, searches)

    monkeypatch.setattr(esen.graph.backends.torch_cluster, "make_finder", make_finder)
    return asked


@pytest.fixture(autouse=True)
def _no_server_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A developer's own tracking server gets no run of a test."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
