"""What Flower runs where the voices are: some steps on one's own clips, and back go the weights (notebook 17)."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from serlib import federated

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answer the server's weights with one's own; the clips stay in the file that the node's settings name."""
    clips = federated.read_client(context.node_config["clips"])
    [weights] = message.content["arrays"].to_numpy_ndarrays()
    steps, pace = context.run_config["steps"], context.run_config["pace"]
    learned = federated.local_steps(weights, clips, steps, pace / len(weights))
    answer = {"arrays": ArrayRecord([learned]), "metrics": MetricRecord({"num-examples": len(clips)})}
    return Message(content=RecordDict(answer), reply_to=message)
