import torch
from lightning.pytorch import LightningModule
from torch import nn

from hiperceiver.training.ema import AverageWeights


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)


class FakeTrainer:
    global_step = 0


def test_average_follows_the_definition_and_swaps_in_and_out() -> None:
    module, trainer, average = Module(), FakeTrainer(), AverageWeights(0.5)
    average.setup(trainer, module, "fit")  # pyright: ignore[reportArgumentType]
    average.on_train_start(trainer, module)  # pyright: ignore[reportArgumentType]
    expected = module.layer.weight.detach().clone()
    for step in range(1, 12):
        with torch.no_grad():
            for weight in module.parameters():
                weight.add_(torch.randn_like(weight))
        trainer.global_step = step
        average.on_train_batch_end(trainer, module, None, None, 0)  # pyright: ignore[reportArgumentType]
        now = module.layer.weight.detach().clone()
        count = step - 1
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * now
        average.on_train_batch_end(trainer, module, None, None, 0)  # pyright: ignore[reportArgumentType] - once a step
    last = module.layer.weight.detach().clone()
    with average.in_place(module):
        torch.testing.assert_close(module.layer.weight.detach(), expected)
    torch.testing.assert_close(module.layer.weight.detach(), last, rtol=0, atol=0)
