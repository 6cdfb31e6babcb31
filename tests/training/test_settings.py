"""Settings by their types: what can be set, what is refused and with which words, and that files give them back."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from sensorium.models.clip import CLIPConfig, ResNetTower, TextTower
from sensorium.training.settings import Unfit, changed, from_json, to_json


@dataclass(frozen=True, kw_only=True)
class Settings:
    data: Path = Path("a")
    model: CLIPConfig = field(default_factory=CLIPConfig)
    rate: float = 1e-3
    batch: int = 8
    mixup: bool = False
    name: str | None = None
    sizes: tuple[int, ...] = (1, 2)
    betas: tuple[float, float] = (0.9, 0.98)
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError("batch must be at least 1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("data=b/c d.json", {"data": Path("b/c d.json")}),
        ("rate=3", {"rate": 3.0}),
        ("rate=1e-4", {"rate": 1e-4}),
        ("mixup=true", {"mixup": True}),
        ("mixup=no", {"mixup": False}),
        ("name=x=y", {"name": "x=y"}),
        ("name=none", {"name": None}),
        ("sizes=4,5,6", {"sizes": (4, 5, 6)}),
        ("betas=0.8, 0.9", {"betas": (0.8, 0.9)}),
        ("kind=b", {"kind": "b"}),
        ("model.text.width=64", {"model": CLIPConfig(text=TextTower(width=64))}),
    ],
)
def test_text_becomes_the_field_s_type(text: str, value: dict[str, Any]):
    key, _, given = text.partition("=")
    found = changed(Settings(), [(key, given)])
    assert found == replace(Settings(), **value)
    assert type(getattr(found, key.split(".")[0])) is type(next(iter(value.values())))


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("batch", "8.5", "batch=8.5: wanted is int"),
        ("mixup", "maybe", "mixup=maybe: wanted is bool"),
        ("kind", "c", "kind=c: wanted is a or b"),
        ("betas", "0.9", "betas=0.9: wanted is float,float"),
        ("batch", "0", "batch=0: batch must be at least 1"),
        ("batch.x", "0", "batch has no fields; it is a int"),
        ("bach", "8", r"there is no setting 'bach'; there are:\n(.*\n)*  batch=8  \(int\)"),
        ("model.text.widht", "8", r"no setting 'model.text.widht'; there are:\n(.*\n)*  width=512  \(int\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(key: str, text: str, message: str):
    with pytest.raises(Unfit, match=message):
        changed(Settings(), [(key, text)])


def test_files_give_back_what_they_got():
    settings = Settings(model=CLIPConfig(vision=ResNetTower(width=8)), name="x", data=Path("b"))
    assert from_json(Settings, to_json(settings)) == settings
    stored = to_json(settings)
    with pytest.raises(Unfit, match=r"settings do not fit this version's Settings: \['rate'\]"):
        from_json(Settings, {key: value for key, value in stored.items() if key != "rate"})
    with pytest.raises(Unfit, match=r"settings.batch: '8' is no int"):
        from_json(Settings, {**stored, "batch": "8"})
