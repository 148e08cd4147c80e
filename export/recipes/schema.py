"""What a recipe may say: data, split, network, augmentation, training, gate.

Each setting has a type, a range and a default; `export.recipes.load` reads files into them.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from bin_daemon.config.schema import Bounds, Name, section
from bin_daemon.config.sections import Share

Backbone = Literal[
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "EfficientNetB3",
    "InceptionV3",
    "ResNet152",
]
Epochs = Annotated[int, Bounds(ge=1, le=10_000)]
Labels = Annotated[tuple[str, ...], Bounds(min_length=2)]
Positive = Annotated[float, Bounds(gt=0)]
Side = Annotated[int, Bounds(ge=32, le=1024)]


@section
class Relaid:
    """A folder of photographs, at any depth, whose items are placed on drawn backgrounds."""

    label: str
    folder: str
    """Relative to the repository."""
    most: Annotated[int, Bounds(ge=1)] | None = None
    """Photographs taken at most, evenly over all of them."""
    crops: Annotated[int, Bounds(ge=1)] = 2
    """Of each photograph."""


@section
class DataSpec:
    """Where the pictures come from: a published archive, or a folder that the user names."""

    title: str
    """Name of the set, as the card quotes it."""
    licence: str
    """Licence of the pictures, as far as it is stated."""
    address: str | None = None
    """Where the set is published; a file address can be fetched, a page is for people."""
    archive: Literal["zip", "tar"] | None = None
    """What a fetched address gives; without it the set comes from a folder (`--data`)."""
    sha256: Annotated[str, Bounds(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the archive. Null where none is published: then `--sha256` or `--data` is needed."""
    folder: str = "."
    """Where the class folders lie within the archive."""
    local: str | None = None
    """A folder, relative to the repository, that is taken where it exists."""
    laid: tuple[Relaid, ...] = ()
    """Folders a set is made of whose backgrounds give no class away (`export.views.relaid`)."""


@section
class SplitSpec:
    """How groups of pictures are dealt; exactly one of the two."""

    folds: Literal[5] | None = None
    """Five folds, of which one is held out."""
    shares: tuple[Share, Share, Share] | None = None
    """Parts for training, validation and measuring; they sum up to 1."""


@section
class HeadSpec:
    """What stands on the pooled embedding."""

    dense: tuple[Annotated[int, Bounds(ge=1, le=4096)], ...] = ()
    """Widths of hidden layers with ReLU before the scores."""
    dropout: Annotated[float, Bounds(ge=0, lt=1)] = 0.2
    """Share of the embedding that is dropped in training."""


@section
class KerasNetwork:
    """A published backbone with a head of its own."""

    kind: Literal["keras"]
    backbone: Backbone
    size: Side
    """Side of the square input, pixels."""
    weights: str = "imagenet"
    """`imagenet` (Keras fetches them), `none` (from scratch), or a folded .npz file."""
    trained: Literal["head", "all"] | Annotated[int, Bounds(ge=1)] = "head"
    """What is trained: the head alone, all layers, or the head and the last n layers."""
    head: HeadSpec = dataclasses.field(default_factory=HeadSpec)


@section
class FoldedNetwork:
    """MobileNetV2 1.0/224 with batch normalisation folded away."""

    kind: Literal["folded"]


@section
class Augmentation:
    """Random changes to a training picture, each drawn evenly between its bounds."""

    rotation_deg: Annotated[float, Bounds(ge=0, le=180)] = 0.0
    zoom: Annotated[float, Bounds(ge=0, lt=1)] = 0.0
    """0.2: between 0.8 and 1.2 times the size."""
    shift: Annotated[float, Bounds(ge=0, lt=1)] = 0.0
    """Of the side, in both directions."""
    shear: Annotated[float, Bounds(ge=0, lt=1)] = 0.0
    """Sideways shift of a row by this share of its height, at most."""
    flip_horizontal: bool = False
    flip_vertical: bool = False
    brightness: Annotated[float, Bounds(ge=0, lt=1)] = 0.0
    """0.2: between 0.8 and 1.2 times as bright."""


@section
class KerasTraining:
    """How a Keras model learns."""

    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Bounds(ge=0)] = 0.0
    label_smoothing: Annotated[float, Bounds(ge=0, lt=1)] = 0.0
    epochs: Epochs = 20
    batch: Annotated[int, Bounds(ge=2, le=1024)] = 32
    seed: Annotated[int, Bounds(ge=0)] = 1


@section
class FoldedTraining:
    """How the folded network learns, and from which views."""

    small_epochs: Annotated[int, Bounds(ge=0)] = 26
    small_size: Side = 160
    """Side of the pictures in the first epochs, pixels."""
    large_epochs: Annotated[int, Bounds(ge=0)] = 8
    large_size: Side = 224
    """In the last epochs. The views are cropped, so that less than the network's 224 shows things
    as large as a bin does (Touvron et al. 2019, arXiv:1906.06423)."""
    batch: Annotated[int, Bounds(ge=2, le=1024)] = 32
    """Photographs in a batch; unknown and rendered items come on top."""
    board_epochs: Annotated[int, Bounds(ge=0)] = 0
    """Of a fine-tuning phase, with every photograph on its plain background and no rendered items,
    at `large_size`; the learning rate rises once more, to a third, and falls. 0: there is none."""
    board_weak_light_shares: tuple[Share, ...] = (0.0,)
    """Of each fine-tuning phase, the share of the views in weak light; the mean of the phases'
    weights is taken."""
    learning_rate: Positive = 1.2e-3
    weight_decay: Annotated[float, Bounds(ge=0)] = 0.02
    warmup_epochs: Annotated[float, Bounds(ge=0)] = 1.0
    label_smoothing: Annotated[float, Bounds(ge=0, lt=1)] = 0.1
    blend_share: Share = 0.5
    """Share of the batches that are blended, by mixup or cutmix."""
    average: Annotated[float, Bounds(ge=0, lt=1)] = 0.997
    dropout: Annotated[float, Bounds(ge=0, lt=1)] = 0.2
    balance: Share = 0.5
    """Exponent of class balancing: 0 draws classes as they come, 1 all equally often."""
    clean_views: Annotated[int, Bounds(ge=0, le=200)] = 8
    """Of each photograph on its plain background, beside the photograph as it is."""
    chamber_views: Annotated[int, Bounds(ge=0, le=200)] = 8
    """Of each photograph, its item cut out and placed in drawn chambers."""
    chamber_share: Share = 0.35
    """Share of the photographs of a batch that are shown in a chamber."""
    rendered: str | None = None
    """Folder of rendered items (`make studio`), relative to the repository; null for none."""
    rendered_views: Annotated[int, Bounds(ge=1, le=200)] = 8
    """Of each rendered item."""
    rendered_share: Share = 0.25
    """Rendered items in a batch, as a share of its photographs."""
    unknown_views: Annotated[int, Bounds(ge=0)] = 1500
    unknown_share: Share = 0.08
    """Out-of-distribution views in a batch, as a share of its photographs."""
    weak_light_share: Share = 0.0
    """Share of all views that are shown in weak light, as a noisy sensor sees them."""
    seed: Annotated[int, Bounds(ge=0)] = 1

    @property
    def epochs(self) -> int:
        """Epochs at both sizes together, without the fine-tuning phases."""
        return self.small_epochs + self.large_epochs

    def size(self, epoch: int) -> int:
        """Side of the training pictures in an epoch, counted from 0."""
        return self.small_size if epoch < self.small_epochs else self.large_size

    def fine_tuning_phases(self) -> tuple[FoldedTraining, ...]:
        """The plan of each fine-tuning phase; all of them go on from the epochs before."""
        phase = dataclasses.replace(
            self,
            small_epochs=0,
            large_epochs=self.board_epochs,
            board_epochs=0,
            chamber_share=0.0,
            rendered_share=0.0,
            learning_rate=self.learning_rate / 3,
            warmup_epochs=0.3,
            average=0.99,
        )
        shares = self.board_weak_light_shares if self.board_epochs else ()
        return tuple(dataclasses.replace(phase, weak_light_share=share) for share in shares)


@section
class Gate:
    """What a model must reach on held-out pictures to be packaged; null asks for nothing."""

    accuracy: Share | None = None
    macro_f1: Share | None = None
    accepted_precision: Share | None = None
    """Of the items above their threshold, the share that must be right."""
    accepted_share: Share | None = None
    """Share of the items that must be above their threshold."""
    ece: Share | None = None
    """Expected calibration error, at most."""
    int8_loss: Share | None = None
    """Accuracy that int8 may lose against float, at most."""
    recall: dict[str, Share] = dataclasses.field(default_factory=dict)
    """For a class, the share of its pictures that must be found."""
    chambers: dict[str, Share] = dataclasses.field(default_factory=dict)
    """For a real chamber, the accuracy on its crops."""
    unknown_accepted: Share | None = None
    """Share of things never seen that may be accepted, at most."""
    kilobytes: Positive | None = None
    """Size of the model file in 1000 bytes, at most."""


@section
class Recipe:
    """What a training is: the part that both kinds of network share."""

    name: Name
    version: Annotated[int, Bounds(ge=1)] = 1
    """Of the package; rises when another training replaces it."""
    title: str
    stands_for: str
    """The published kind of system that it repeats, in plain words."""
    labels: Labels | None = None
    """Classes in the order of the scores; null takes the folders of the data, by alphabet."""
    data: DataSpec
    split: SplitSpec
    gate: Gate = dataclasses.field(default_factory=Gate)
    limits: tuple[str, ...] = ()
    """What a user of the model should know of its data, a sentence each; the card quotes them."""
    residual_labels: tuple[str, ...] = ()
    """Classes that go where the unsure goes; what is taken for one is never accepted."""
    weights_licence: str = "as that of the data allows"
    """Of the trained weights."""

    def of_package(self) -> dict[str, Any]:
        """What a package of it must reach and say: decides no weight, so it may change later."""
        return {
            "version": self.version,
            "title": self.title,
            "residual_labels": list(self.residual_labels),
            "gate": dataclasses.asdict(self.gate),
            "limits": list(self.limits),
        }


@section
class KerasRecipe(Recipe):
    """A recipe for a published backbone."""

    network: KerasNetwork
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    training: KerasTraining = dataclasses.field(default_factory=KerasTraining)


@section
class FoldedRecipe(Recipe):
    """A recipe for the project's own folded network, augmented by `export.views.augment`."""

    network: FoldedNetwork
    training: FoldedTraining = dataclasses.field(default_factory=FoldedTraining)


AnyRecipe = KerasRecipe | FoldedRecipe
