"""The experiment of the soak, and the environment in which its driver runs."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "soak"
STEPS, SAVE_STEPS = 8, 3
CHECKPOINTS = (3, 6, 8)
STAGES = ("download", "convert", "finetune", "evaluate")
CPUS = 2  # that Ray counts, whatever the machine has

# Ray asks `os.cpu_count`; without this, each of many trials on a large machine would start a worker per core.
FEWER_CPUS = f"import os\nos.cpu_count = lambda: {CPUS}\n"


@dataclass(frozen=True)
class Setup:
    """Folders and choices of one trial.

    Attributes:
        folder: everything of the trial; its path is short, because Ray's sockets are below it.
        data: the source dataset, which all trials share.
        workers: `num_workers` of the training.
    """

    folder: Path
    data: Path
    workers: int

    @property
    def local(self) -> Path:
        """Local storage of the trial."""
        return self.folder / "out"

    @property
    def experiment(self) -> Path:
        """The experiment file."""
        return self.folder / "soak.yaml"

    def prepare(self, storage: str) -> None:
        """Create the folders and the experiment file, with results in the folder or URI `storage`."""
        for name in ("t", "home", "cache", "site"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "site" / "sitecustomize.py").write_text(FEWER_CPUS)
        self.experiment.write_text(json.dumps(self._document(storage), indent=1))  # JSON is YAML

    def command(self) -> list[str]:
        """The command of the driver."""
        return [sys.executable, "-m", "groot_ray.cli.main", "run", str(self.experiment)]

    def environment(self, storage: dict[str, str]) -> dict[str, str]:
        """The driver's environment: its own HOME and TMPDIR, and the variables of the `storage`."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RAY_", "GROOT_RAY_"))}
        paths = [str(self.folder / "site"), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        return {
            **kept,
            **storage,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",  # a driver that hangs is asked for its stacks
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "t"),
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "CUDA_VISIBLE_DEVICES": "",
            "MPLBACKEND": "Agg",
            "HF_HUB_OFFLINE": "1",
            "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(300 << 20),
        }

    def _document(self, storage: str) -> dict[str, object]:
        return {
            "experiment": {
                "name": NAME,
                "storage": {"uri": storage, "cache": str(self.folder / "cache")},
                "source": {"uri": str(self.data)},
                "embodiment": "aloha",
                "conversion": {"resolution": 64},
                "splits": {"test": 1},
                "model": {"base": None, "size": "tiny"},
                "training": {
                    "global_batch_size": 4,
                    "learning_rate": 1e-3,
                    "max_steps": STEPS,
                    "save_steps": SAVE_STEPS,
                    "logging_steps": 1,
                    "recovery_interval": 1.0,
                    "state_dropout_prob": 0.2,
                    "color_jitter_params": {"brightness": 0.2},
                    "num_workers": self.workers,
                    "dataloader_num_workers": 1,
                    "use_gpu": False,
                },
                "evaluation": {"steps": 32, "plots": False},
            }
        }
