"""What dense tasks are measured against: pictures with a truth at every pixel, with boxes, points, or partners.

Each set is a sequence whose items are read when their turn comes; `data.layouts` opens the published ones from their
folders, `data.composed` and `data.rendered` make stand-ins. Damage raises Unreadable, naming the file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar, overload

from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.data.image import Source

IGNORED = 255
"""The label of a pixel that counts for nothing."""

Item = TypeVar("Item", covariant=True)


@dataclass(frozen=True, kw_only=True)
class SegmentedPicture:
    """A picture and the class of every pixel; `key` names it in messages."""

    image: Source
    key: str
    read: Callable[[], UInt8[Tensor, "h w"]]

    def labels(self) -> UInt8[Tensor, "h w"]:
        """The number of each pixel's class, IGNORED where none counts; of the picture's size. Raises Unreadable."""
        return self.read()


@dataclass(frozen=True, kw_only=True)
class DepthPicture:
    """A picture and how far away every pixel is."""

    image: Source
    key: str
    read: Callable[[], Float[Tensor, "h w"]]

    def depth(self) -> Float[Tensor, "h w"]:
        """Metres along the camera's axis, float32, 0 where unknown. Raises Unreadable."""
        return self.read()


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxedPicture:
    """A picture and the objects' boxes: left, top, right, bottom in pixels, right and bottom just outside.

    `names` has each box's class, or is empty where boxes have none.
    """

    image: Source
    key: str
    boxes: Float[Tensor, "objects 4"]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """Two pictures and points that show the same place in both, x and y in pixels of each picture as stored.

    The boxes hold the object: left, top, right, bottom. `target_box` is the scale of PCK's thresholds.
    """

    source: Source
    target: Source
    key: str
    category: str
    source_points: Float[Tensor, "points 2"]
    target_points: Float[Tensor, "points 2"]
    source_box: Float[Tensor, "4"]
    target_box: Float[Tensor, "4"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The frames of a film in order, and which object every pixel belongs to; a tracker is given `masks(0)`."""

    key: str
    frames: Sequence[Source]
    read: Callable[[int], UInt8[Tensor, "h w"]]

    def masks(self, index: int) -> UInt8[Tensor, "h w"]:
        """The number of the object at each pixel of one frame, 0 on the ground, IGNORED where none counts.

        Raises Unreadable.
        """
        return self.read(index)


@dataclass(frozen=True, kw_only=True)
class InstanceQuery:
    """A picture of an instance, and which pictures of the gallery show it: clearly (`easy`), or less so (`hard`).

    `junk` shows too little of it to be right or wrong. `box` cuts the instance out: left, top, right, bottom.
    """

    image: Source
    key: str
    easy: tuple[int, ...]
    hard: tuple[int, ...] = ()
    junk: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class DenseSet(Sequence[Item], Generic[Item]):
    """A name, how many items there are, and what reads each. `read` is a function of the module's top, so it pickles.

    Sets that are `made` are no published ones: `about` says in a sentence what they are.
    """

    kind: ClassVar[str]

    name: str
    length: int
    at: Callable[[int], Item]
    about: str = ""

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int, /) -> Item: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Item]: ...
    def __getitem__(self, index: int | slice, /) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self.at(each) for each in range(*index.indices(self.length))]
        if not -self.length <= index < self.length:
            raise IndexError(index)
        return self.at(index % self.length)


@dataclass(frozen=True, kw_only=True)
class Segmented(DenseSet[SegmentedPicture]):
    """Pictures with the class of every pixel; the numbers count `classes`."""

    kind: ClassVar[str] = "pictures with a class at every pixel"
    classes: tuple[str, ...]
    ignore: int = IGNORED


@dataclass(frozen=True, kw_only=True)
class Depths(DenseSet[DepthPicture]):
    """Pictures with depth; the protocol counts pixels from `near` to `far` metres."""

    kind: ClassVar[str] = "pictures with depth"
    near: float = 0.001
    far: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Boxed(DenseSet[BoxedPicture]):
    """Pictures with the boxes of their objects."""

    kind: ClassVar[str] = "pictures with boxes"


@dataclass(frozen=True, kw_only=True)
class Matched(DenseSet[Match]):
    """Pairs of pictures with points that correspond."""

    kind: ClassVar[str] = "pairs of pictures with points that correspond"


@dataclass(frozen=True, kw_only=True)
class Clips(DenseSet[Clip]):
    """Films with the objects of every frame."""

    kind: ClassVar[str] = "films with a mask for every object"


@dataclass(frozen=True, kw_only=True)
class Instances(DenseSet[InstanceQuery]):
    """Queries, and the gallery whose pictures their numbers count."""

    kind: ClassVar[str] = "queries for instances in a gallery"
    gallery: Sequence[Source]


AnyDense = Segmented | Depths | Boxed | Matched | Clips | Instances
