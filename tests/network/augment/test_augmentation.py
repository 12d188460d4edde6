import numpy as np
import pytest
import torch
from pydantic import ValidationError

from promet.network.augment import augmenter, batched, loops, noise, transforms
from promet.network.augment.batched import Batched, _turns
from promet.network.augment.by_monai import SPATIAL, Monai
from promet.network.augment.settings import TRANSFORMS, Augmentation

SHAPE = (14, 54, 54)
INTENSITY = tuple(name for name in TRANSFORMS if name not in SPATIAL)


@pytest.fixture(scope="module")
def volume() -> torch.Tensor:
    """An organ with an off-centre lesion, 1 x 2 x z x y x x."""
    z, y, x = np.mgrid[:14, :54, :54]
    organ = ((z - 7) / 5) ** 2 + ((y - 27) / 20) ** 2 + ((x - 27) / 22) ** 2 < 1
    distance = ((z - 7) / 1.5) ** 2 + ((y - 20) / 5) ** 2 + ((x - 18) / 5) ** 2
    pet = organ * np.maximum(0.2 + 0.1 * np.random.default_rng(0).random(SHAPE), np.exp(-distance))
    return torch.tensor(np.stack([pet / pet.max(), distance < 1]), dtype=torch.float32)[None]


@pytest.fixture(params=["batched", "monai"])
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


def only(name: str, engine: str) -> Monai | Batched:
    return augmenter(Augmentation(engine=engine, count=1, transforms=(name,)), 3, SHAPE)


def test_the_fifteen_of_the_paper() -> None:
    assert len(TRANSFORMS) == 15
    assert Augmentation().count == 7


@pytest.mark.parametrize("name", INTENSITY)
def test_intensity_touches_the_pet_only(name: str, volume: torch.Tensor, engine: str) -> None:
    augment, before = only(name, engine), volume.clone()
    changed = [augment(volume, epoch, [0])[0] for epoch in range(3)]
    assert torch.equal(volume, before), "the input was written into"
    for result in changed:
        assert torch.isfinite(result).all()
        assert torch.equal(result[1], volume[0, 1])
        assert not torch.equal(result[0], volume[0, 0])
        assert (result[0] - volume[0, 0]).abs().mean() < 0.2, "the image is destroyed"


@pytest.mark.parametrize("name", SPATIAL)
def test_spatial_moves_both_and_keeps_the_map_binary(name: str, volume: torch.Tensor, engine: str) -> None:
    augment = only(name, engine)
    before = dice(volume[0])
    moved = [augment(volume, epoch, [0])[0] for epoch in range(5)]
    assert any(
        not torch.equal(result[1], volume[0, 1]) for result in moved
    )  # a small angle leaves the lesion in place
    for result in moved:
        assert not torch.equal(result[0], volume[0, 0])
        assert set(result[1].unique().tolist()) == {0.0, 1.0}
        assert dice(result) > before - 0.2, "bright spot and lesion map have gone to different places"


def dice(volume: torch.Tensor) -> float:
    spot, lesion = volume[0] > 0.5, volume[1] == 1
    return (2 * (spot & lesion).sum() / (spot.sum() + lesion.sum())).item()


def test_flip_is_left_right(volume: torch.Tensor, engine: str) -> None:
    assert torch.equal(only("flip", engine)(volume, 1, [0]), volume.flip(-1))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rotation_tilts_every_axis_by_at_most_20_degrees(axis: int, engine: str) -> None:
    rod = torch.zeros(1, 2, 33, 33, 33)
    ends = [slice(15, 18)] * 3
    ends[axis] = slice(4, 29)
    rod[0, :, *ends] = 1
    augment = augmenter(Augmentation(engine=engine, count=1, transforms=("rotation",)), 3, (33, 33, 33))
    tilts = []
    for epoch in range(25):
        points = augment(rod, epoch, [0])[0, 1].nonzero().double()
        direction = torch.linalg.svd(points - points.mean(0), full_matrices=False)[2][0]
        direction = direction * direction[axis].sign()
        tilts.append(
            [np.degrees(torch.atan2(direction[a], direction[axis]).item()) for a in range(3) if a != axis]
        )
    tilts = np.abs(tilts)
    assert (tilts.max(axis=0) > 10).all(), "one axis is not rotated"
    # Two turns of 20 degrees tilt an axis by at most arccos(cos(20)^2) = 28 degrees.
    assert (tilts.max(axis=0) < 28.1).all()


def test_exactly_seven_act_by_monai(volume: torch.Tensor) -> None:
    augment = augmenter(Augmentation(engine="monai"), 3, SHAPE)
    acted: list[str] = []

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, data: dict) -> dict:
            acted.append(self.name)
            return data

    augment.pipeline.transforms = tuple(Recorder(name) for name in TRANSFORMS)
    orders, seen = set(), set()
    for epoch in range(40):
        acted.clear()
        augment(volume, epoch, [0])
        assert len(acted) == len(set(acted)) == 7
        orders.add(tuple(acted) == tuple(sorted(acted, key=TRANSFORMS.index)))
        seen.update(acted)
    assert False in orders, "always in the listed order"
    assert seen == set(TRANSFORMS)


def test_exactly_the_drawn_seven_act_in_their_order(volume: torch.Tensor, monkeypatch) -> None:
    augment, acted, extra = Batched(Augmentation(), 3, SHAPE), [], Batched._extra

    def note(name: str, *given: object) -> dict:
        acted.append(TRANSFORMS.index(name))
        return extra(augment, name, *given)

    monkeypatch.setattr(augment, "_extra", note)
    for epoch in range(5):
        acted.clear()
        augment(volume.repeat(2, 1, 1, 1, 1), epoch, [8, 9])
        order = augment.draw(epoch, [8, 9])[0].tolist()
        assert acted == order[0] + order[1]
        assert all(len(set(steps)) == len(steps) == 7 for steps in order)


def test_turns_keep_each_order_and_take_the_most_at_once() -> None:
    order = Batched(Augmentation(), 3, SHAPE).draw(1, range(40))[0].tolist()
    acted = [[] for _ in order]
    for number, rows in _turns(order):
        heads = [steps[len(done)] for steps, done in zip(order, acted, strict=True) if len(done) < 7]
        assert len(rows) == heads.count(number) == max(heads.count(head) for head in heads)
        for row in rows:
            acted[row].append(number)
    assert acted == order


def test_together_is_one_by_one(volume: torch.Tensor, monkeypatch) -> None:
    """What a GPU does, noise and all, run here."""
    augment, batch = Batched(Augmentation(count=5), 3, SHAPE), volume.repeat(5, 1, 1, 1, 1)
    expected = augment(batch, 1, range(5))
    monkeypatch.setattr(transforms, "_loops", lambda _: None)
    monkeypatch.setattr(augment, "_one_by_one", augment._together)
    together = augment(batch, 1, range(5))
    # sampling at the edge of a voxel may take its neighbour
    near = (together - expected).abs() <= 1e-4
    assert near.double().mean() > 0.999


@pytest.mark.parametrize("size", [1, 7, 1024, 1025, 5000])
def test_a_device_has_the_noise_of_a_cpu(size: int) -> None:
    seeds = np.array([0, 1, 12345, 2**63 + 5, 2**64 - 1], np.uint64)
    bits = torch.from_numpy(seeds.view(np.int64))
    assert torch.equal(noise.uniform(bits, size), torch.from_numpy(loops.uniform(seeds, size)))
    torch.testing.assert_close(
        noise.normal(bits, size), torch.from_numpy(loops.normal(seeds, size)), rtol=0, atol=3e-6
    )


def test_no_two_transforms_or_samples_share_random_numbers(volume: torch.Tensor, monkeypatch) -> None:
    used, original = [], batched._random

    def note(sources: np.ndarray, *given: object) -> torch.Tensor:
        used.extend(sources.tolist())
        return original(sources, *given)

    monkeypatch.setattr(batched, "_random", note)
    augment = Batched(Augmentation(count=15), 3, SHAPE)
    for epoch in range(2):
        augment(volume.repeat(3, 1, 1, 1, 1), epoch, range(3))
    assert len(set(used)) == len(used) == 2 * 3 * 4


def test_numbers_come_from_seed_epoch_and_sample_alone(volume: torch.Tensor, engine: str) -> None:
    # all fifteen, so that none of them draws from a global generator
    settings = Augmentation(engine=engine, count=15)
    batch = volume.repeat(2, 1, 1, 1, 1)
    first = augmenter(settings, 3, SHAPE)(batch, 5, [0, 1])
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    other = augmenter(settings, 3, SHAPE)
    other(batch, 4, [7, 8])
    # batched sums may round differently in another batch
    torch.testing.assert_close(
        other(volume, 5, [1])[0], first[1], rtol=0, atol=0 if engine == "monai" else 1e-4
    )
    torch.testing.assert_close(
        other(volume, 5, [0])[0], first[0], rtol=0, atol=0 if engine == "monai" else 1e-4
    )
    assert torch.equal(augmenter(settings, 3, SHAPE)(batch, 5, [0, 1]), first)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(other(volume, 6, [0])[0], first[0])
    assert not torch.equal(augmenter(settings, 4, SHAPE)(volume, 5, [0])[0], first[0])


def test_seven_together_stay_sane(volume: torch.Tensor, engine: str) -> None:
    augment = augmenter(Augmentation(engine=engine), 1, SHAPE)
    for epoch in range(10):
        result = augment(volume, epoch, [0])[0]
        assert result.dtype == torch.float32
        assert result.shape == (2, *SHAPE)
        assert torch.isfinite(result).all()
        assert -1 <= result[0].min() <= result[0].max() <= 2
        assert set(result[1].unique().tolist()) <= {0.0, 1.0}


def test_count_zero_leaves_all_as_it_is(volume: torch.Tensor, engine: str) -> None:
    assert augmenter(Augmentation(engine=engine, count=0), 1, SHAPE)(volume, 1, [0]) is volume


@pytest.mark.parametrize(
    "bad", [{"count": 3, "transforms": ["flip", "affine"]}, {"count": 1, "transforms": ["flip", "flip"]}]
)
def test_impossible_draws_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        Augmentation.model_validate(bad)
