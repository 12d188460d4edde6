import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from promet.core.errors import UsageError
from promet.core.files import digest_file, read_json, write_json
from promet.network import attention
from promet.network.architecture import build
from promet.network.attention import (
    METHODS,
    STEPS,
    attributions,
    randomised,
    rank_correlation,
    shares,
    stage_with_cells,
)
from promet.network.cli import app
from promet.network.data import write_table
from promet.network.resume import pack
from promet.network.score import Ensemble
from promet.network.settings import Architecture


class Corner(nn.Module):
    """Looks at one corner of the PET alone, so that every method must point there."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = nn.Conv3d(2, 1, 1, bias=False)
        nn.init.ones_(self.blur.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blur(x)[:, 0, :4, :12, :12].sum((1, 2, 3))


def test_every_method_points_where_the_network_looks() -> None:
    maps, error = attributions(Corner().eval(), torch.rand(2, 14, 54, 54))
    assert error < 1e-5  # of a linear network every step gives the whole sum
    assert tuple(maps) == tuple(METHODS)
    for name in ("integrated_gradients", "occlusion"):
        assert maps[name].shape == (14, 54, 54)
        assert maps[name][:4, :12, :12].sum() > 0.999 * maps[name].sum()


class Square(Corner):
    """Its gradient runs evenly along the path: the midpoint rule is exact, a rule of one end would be wrong by 1 / STEPS."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).square()


class Kink(Corner):
    """Silent up to a share of the image, then steep: the sum misses the change by what falls between two steps."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(super().forward(x) - 0.99995 * 4 * 12 * 12 * 2)


class Constant(Corner):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0 * super().forward(x)


def test_completeness_error() -> None:
    volume = torch.ones(2, 8, 16, 16)
    assert attributions(Square().eval(), volume)[1] < 1e-5
    # the last midpoint lies at 1 - 1 / (2 STEPS), where it is silent: the maps are empty although the logit changes
    assert attributions(Kink().eval(), volume)[1] == pytest.approx(1)
    assert np.isnan(attributions(Constant().eval(), volume)[1])
    members = [Square(), Kink(), Constant()]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        assert attributions(Ensemble([members[i] for i in order]).eval(), volume)[1] == pytest.approx(1)


def test_layer_still_has_cells() -> None:
    name, _, cells = stage_with_cells(build(Architecture()).eval(), torch.rand(1, 2, 14, 54, 54))
    assert (name, cells) == ("features.fire5", (4, 7, 7))  # after it come 2 x 4 x 4


def test_shares_and_correlation() -> None:
    volume = np.zeros((2, 4, 5, 5))
    volume[0, 1:3] = 0.5
    volume[1, 1, :, :] = 1
    found = shares({"x": np.ones((4, 5, 5))}, volume)
    assert found == {"voxels_lesion": 0.25, "voxels_organ": 0.5, "x_lesion": 0.25, "x_organ": 0.5}
    ramp = np.arange(100.0).reshape(4, 5, 5)
    assert rank_correlation(ramp, ramp**3) == pytest.approx(1)
    assert rank_correlation(ramp, ramp * 0) == 0


def test_untrained_weights_are_other_weights() -> None:
    torch.manual_seed(1)
    model = build(Architecture()).eval()
    other = randomised(model)
    assert not torch.equal(other.features.stem.weight, model.features.stem.weight)
    maps, _ = attributions(Ensemble([model, other]).eval(), torch.rand(2, 8, 16, 16))
    for one in maps.values():  # a member whose map is empty adds nothing
        assert one.min() >= 0
        assert np.isclose(one.sum(), [0, 0.5, 1]).any()


def test_command(make_fit, tmp_path) -> None:
    from pyarrow import parquet
    from safetensors.torch import save_file

    _, patients = make_fit(training=2, validation=2)
    torch.manual_seed(0)
    save_file(pack(build(Architecture()).state_dict()), tmp_path / "model.safetensors")
    chosen = {"weights": "model.safetensors", "digest": digest_file(tmp_path / "model.safetensors")}
    write_json(tmp_path / "model.json", {**chosen, "architecture": Architecture().model_dump(mode="json")})
    digests = [digest_file(patients / name / "tensor.npy") for name in ("P000", "P001", "P002")]
    columns = {"patient": ["P000", "P001", "P002", "Q1"], "tensor_digest": [*digests, ""]}
    types = {"patient": "string", "tensor_digest": "string"}
    write_table(tmp_path / "patients.parquet", columns, types)
    wanted = ("P002", "P001", "Q1")  # the last one has no tensor
    call = ["attention", f"--model={tmp_path / 'model.json'}", f"--patients={patients}"]
    call += [f"--gathered={tmp_path}", *[f"--patient={name}" for name in wanted]]
    made = ("attention.npy", "attention.parquet", "P002.png", "P001.png")
    files = []
    for run in "ab":
        out = tmp_path / run / "attention.json"
        out.parent.mkdir()
        out.with_name("P000.png").write_text("of an earlier choice")
        assert CliRunner().invoke(app, [*call, f"--out={out}"], catch_exceptions=False).exit_code == 0
        assert {path.name for path in out.parent.iterdir()} == {*made, "attention.json"}
        files.append([out.with_name(name).read_bytes() for name in made])
    assert files[0] == files[1]
    record = read_json(out)
    assert record["warnings"] == ["Q1 has no tensor, so no map"]
    assert record["values"]["patients"] == ["P002", "P001"]
    assert np.load(out.with_name("attention.npy")).shape == (2, 3, 8, 16, 16)
    table = parquet.read_table(out.with_name("attention.parquet")).to_pydict()
    assert table["patient"] == ["P002", "P001"]
    errors = table["integrated_gradients_error"]
    assert record["values"]["median_integrated_gradients_error"] == np.median(errors)
    assert record["values"]["largest_integrated_gradients_error"] == max(errors) > 0
    assert record["values"]["integrated_gradients_steps"] == STEPS
    for method in METHODS:
        for lesion, organ in zip(table[f"{method}_lesion"], table[f"{method}_organ"], strict=True):
            assert 0 <= lesion <= organ <= 1
        median = record["values"][f"median_{method}_untrained_correlation"]
        assert median == np.median(table[f"{method}_untrained_correlation"])
        assert -1 <= median < 0.999  # 1 would be the map of the network itself


def test_a_stranger_is_refused(make_fit, tmp_path) -> None:
    types = {"patient": "string", "tensor_digest": "string"}
    write_table(tmp_path / "patients.parquet", {"patient": ["P000"], "tensor_digest": [""]}, types)
    write_json(tmp_path / "model.json", {"members": [], "digest": "d"})
    with pytest.raises(UsageError, match="P009 is not among the 1 patients"):
        attention.run(
            attention.Inputs(tmp_path / "model.json", tmp_path, tmp_path, ["P009"], (5, 1, 1)),
            None,
            tmp_path / "a.json",
            "pin",
        )
