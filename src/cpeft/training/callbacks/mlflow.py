"""MLflow: the server of MLFLOW_TRACKING_URI, else a database in the store, `mlflow ui --backend-store-uri sqlite:///...`."""

import os
import re
import time
from collections.abc import Mapping
from typing import Any

from cpeft.config import flat
from cpeft.training.callbacks.tracker import TRACKERS, State, Tracker

STATES = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
CALL, LONGEST = 100, 6000  # the server's limits: parameters of one call, characters of one
ID = "cpeft.id"  # the tag by which a resumed run is found


@TRACKERS.register("mlflow")
class MLflow(Tracker):
    """Uses MLflow's client, one run each, because MLflow's global run is one per thread. MLflow reports its usage
    to its makers unless MLFLOW_DISABLE_TELEMETRY is set; here it is, unless you set it otherwise."""

    packages = ("mlflow", "sqlalchemy", "alembic")
    client: Any
    handle: str

    def failures(self) -> tuple[type[Exception], ...]:
        from mlflow.exceptions import MlflowException

        return (MlflowException,)

    def begin(self, step: int) -> Mapping[str, int]:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        store = self.run.folder.path.parents[1]
        server = os.environ.get("MLFLOW_TRACKING_URI")
        self.client = MlflowClient(server or f"sqlite:///{store.resolve() / 'mlflow.db'}")
        experiment = self._experiment(None if server else (store.resolve() / "mlflow").as_uri())
        found = self.client.search_runs([experiment], f"tags.`{ID}` = '{self.run.id}'")
        if found:
            self.handle = found[0].info.run_id
            self.client.update_run(self.handle, "RUNNING")
        else:
            tags = {ID: self.run.id, "group": self.run.stage}
            self.handle = self.client.create_run(experiment, tags=tags, run_name=self.run.name).info.run_id
            self._settings()
        return self.known

    def _experiment(self, artifacts: str | None) -> str:
        from mlflow.exceptions import MlflowException

        name = self.run.project
        if (found := self.client.get_experiment_by_name(name)) is None:
            try:
                return str(self.client.create_experiment(name, artifacts))
            except MlflowException:
                found = self.client.get_experiment_by_name(name)  # another process made it in between
                if found is None:
                    raise
        return str(found.experiment_id)

    def _settings(self) -> None:
        from mlflow.entities import Param

        parameters = [Param(_key(key), text[:LONGEST]) for key, text in flat(self.run.settings).items()]
        for first in range(0, len(parameters), CALL):
            self.client.log_batch(self.handle, params=parameters[first : first + CALL])

    def log(self, step: int, numbers: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(self.handle, [Metric(_key(key), value, now, step) for key, value in numbers.items()])

    def end(self, state: State) -> None:
        self.client.set_terminated(self.handle, STATES[state])


def _key(name: str) -> str:
    """A name with the characters that MLflow allows."""
    return re.sub(r"[^\w\-. /:]", "_", name)
