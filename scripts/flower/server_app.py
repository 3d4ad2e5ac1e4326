"""What Flower runs on the server: federated averaging, by Flower's own strategy (notebook 17)."""

import time

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Average what comes back; who does not answer within the patience of a round is left out of it."""
    settings = context.run_config
    while len(list(grid.get_node_ids())) < settings["clients"]:
        time.sleep(1)
    start = np.zeros((settings["features"], settings["emotions"]), dtype=np.float32)
    average = FedAvg(fraction_evaluate=0, min_train_nodes=1, min_available_nodes=1)  # later, those who are left will do
    result = average.start(
        grid=grid, initial_arrays=ArrayRecord([start]), num_rounds=settings["rounds"], timeout=settings["patience"]
    )
    [weights] = result.arrays.to_numpy_ndarrays()
    np.save(settings["weights"], weights)
