"""The tasks' settings: every field is explained, and needs no torch."""

import subprocess
import sys

import pytest

from hiperceiver.settings.base import field_docs, field_types
from hiperceiver.settings.tasks import TASK_CONFIGS, TaskConfig
from hiperceiver.tasks import TASKS


def test_every_task_has_its_settings() -> None:
    assert {kind: task.config_class for kind, task in TASKS.items()} == TASK_CONFIGS


@pytest.mark.parametrize("config", TASK_CONFIGS.values())
def test_every_field_is_explained(config: type[TaskConfig]) -> None:
    for name, text in field_docs(config).items():
        assert text.endswith("."), name
    assert set(config.from_data) <= set(field_types(config))


def test_the_settings_need_no_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; import hiperceiver.settings.tasks"
    subprocess.run([sys.executable, "-c", program], check=True)
