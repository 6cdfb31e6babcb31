"""Drawn people in the pose of an exercise or activity: the generated pictures of `exercises`, and what they are called.

Angles are degrees from straight down; positive ones point forwards seen from the side, outwards seen from the front.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

SIZE, FINE = 96, 4  # pixels, and how many times larger it is drawn first
Point = tuple[float, float]
Limb = tuple[float, float]  # the angles of its upper and its lower part


@dataclass(frozen=True, kw_only=True)
class Pose:
    """What a figure does from `begin` to `end`: the limb of the watch's arm moves, the others stay where they are."""

    name: str
    captions: tuple[str, ...]
    view: Literal["front", "side"]
    begin: Limb
    end: Limb
    other: Limb = (6, 6)
    lean: float = 0.0
    legs: tuple[Limb, Limb] = ((7, 7), (7, 7))
    both: bool = False  # whether the other arm does the same
    racket: bool = False


POSES = (
    Pose(
        name="PEN",
        captions=("A person bends over and swings a hanging arm like a pendulum.", "A pendulum swing of the arm."),
        view="side",
        lean=70,
        begin=(-28, -28),
        end=(30, 30),
        other=(5, 70),
        legs=((12, -4), (-4, -8)),
    ),
    Pose(
        name="ABD",
        captions=("A person raises a straight arm sideways.", "Lifting the arm out to the side."),
        view="front",
        begin=(12, 12),
        end=(125, 125),
    ),
    Pose(
        name="FEL",
        captions=("A person raises a straight arm to the front.", "Lifting the arm forwards and up."),
        view="side",
        begin=(8, 8),
        end=(140, 140),
        other=(-5, 0),
    ),
    Pose(
        name="IR",
        captions=("A person turns the forearm inwards across the belly.", "Inward rotation of a bent arm."),
        view="front",
        begin=(8, 20),
        end=(8, -85),
    ),
    Pose(
        name="ER",
        captions=("A person turns the forearm outwards, elbow at the side.", "Outward rotation of a bent arm."),
        view="front",
        begin=(8, -20),
        end=(8, 88),
    ),
    Pose(
        name="TRAP",
        captions=("A person bends over and pulls a straight arm back and up.", "Extending the arm backwards."),
        view="side",
        lean=65,
        begin=(0, 0),
        end=(-105, -105),
        other=(5, 70),
        legs=((12, -4), (-4, -8)),
    ),
    Pose(
        name="ROW",
        captions=("A person pulls both hands up to the chin.", "An upright row with high elbows."),
        view="front",
        begin=(8, -8),
        end=(105, -122),
        both=True,
    ),
    Pose(
        name="Standing",
        captions=("A person stands still.", "Standing and resting."),
        view="front",
        begin=(7, 7),
        end=(7, 7),
        both=True,
    ),
    Pose(
        name="Running",
        captions=("A person runs.", "Running fast."),
        view="side",
        lean=14,
        begin=(-50, 35),
        end=(50, 140),
        other=(-50, 35),
        legs=((65, -25), (-35, -105)),
    ),
    Pose(
        name="Walking",
        captions=("A person walks.", "Walking along."),
        view="side",
        lean=2,
        begin=(-20, -12),
        end=(26, 38),
        other=(-22, -14),
        legs=((24, 14), (-20, -32)),
    ),
    Pose(
        name="Badminton",
        captions=("A person plays badminton.", "Hitting a shuttlecock with a racket."),
        view="side",
        lean=4,
        begin=(40, 80),
        end=(105, 135),
        other=(40, 70),
        legs=((22, 6), (-18, -26)),
        racket=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Look:
    """Build, place and colours of one figure, lengths in parts of its height."""

    height: float  # of the standing figure, in parts of the picture
    centre: float
    sign: float  # 1 faces right, or has its moving arm on the right
    thick: float
    head: float
    arm: float
    leg: float
    ground: tuple[int, int, int]
    skin: tuple[int, int, int]
    shirt: tuple[int, int, int]
    trousers: tuple[int, int, int]
    phase: float  # how far between begin and end the moving arm is
    ghost: bool  # whether it is seen faintly where it began, too


def figure(random: np.random.Generator, pose: Pose, *, left: bool = False) -> Image.Image:
    """96 x 96 pixels. `left`: the arm with the watch is the left one, which mirrors the picture."""
    tone = random.uniform(0.25, 1)
    look = Look(
        height=random.uniform(0.82, 0.92),
        centre=random.uniform(0.45, 0.55),
        sign=-1.0 if left else 1.0,
        thick=random.uniform(0.07, 0.095),
        head=random.uniform(0.065, 0.085),
        arm=random.uniform(0.17, 0.2),
        leg=random.uniform(0.23, 0.26),
        ground=_colour(random, 200, 250),
        skin=(int(90 + 150 * tone), int(60 + 130 * tone), int(45 + 110 * tone)),
        shirt=_colour(random, 20, 150),
        trousers=_colour(random, 10, 140),
        phase=random.uniform(0.8, 1.0),
        ghost=bool(random.random() < 0.8),
    )
    side = SIZE * FINE
    image = Image.new("RGB", (side, side), look.ground)
    pen = ImageDraw.Draw(image)
    floor = round(side * (0.5 + look.height / 2 + random.uniform(-0.02, 0.04)))
    pen.rectangle((0, floor, side, side), fill=_mixed(look.ground, (70, 60, 50), 0.35))
    _person(pen, pose, look, floor / side)
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _person(pen: ImageDraw.ImageDraw, pose: Pose, look: Look, floor: float) -> None:
    scale, sign = look.height, look.sign
    hip = (look.centre - sign * 0.12 * math.sin(math.radians(pose.lean)), floor - 2 * look.leg * scale)
    neck = _along(hip, 180 - pose.lean, 0.3 * scale, sign)
    head = _along(neck, 180 - pose.lean, look.head * scale * 1.35, sign)
    front = pose.view == "front"
    width = 0.085 * scale if front else 0.0
    shoulders = [(neck[0] + sign * width, neck[1] + 0.02), (neck[0] - sign * width, neck[1] + 0.02)]
    hips = [(hip[0] + sign * width * 0.6, hip[1]), (hip[0] - sign * width * 0.6, hip[1])]
    begin, end = (np.array(each) for each in (pose.begin, pose.end))
    moving: Limb = tuple(begin + (end - begin) * look.phase)
    outwards = [sign, -sign if front else sign]  # the other arm's outside is on the other side
    far = _mixed(look.shirt, (0, 0, 0), 0.35)
    if not front:
        _limb(pen, shoulders[1], pose.other, look.arm * scale, look.thick * scale, outwards[1], far, look.skin)
    for place, legs, to in zip(hips, pose.legs, outwards, strict=True):
        _limb(pen, place, legs, look.leg * scale, look.thick * 1.25 * scale, to, look.trousers, look.trousers)
    _line(pen, hip, neck, (0.15 if front else 0.11) * scale, look.shirt)
    _line(pen, neck, head, look.thick * scale, look.skin)
    _dot(pen, head, look.head * scale, look.skin)
    faint = _mixed(look.shirt, look.ground, 0.75)
    arms = [(shoulders[0], outwards[0])]
    if front and pose.both:
        arms.append((shoulders[1], outwards[1]))
    elif front:
        _limb(pen, shoulders[1], pose.other, look.arm * scale, look.thick * scale, outwards[1], look.shirt, look.skin)
    for place, to in arms:
        if look.ghost and pose.begin != pose.end:
            _limb(pen, place, pose.begin, look.arm * scale, look.thick * 0.7 * scale, to, faint, faint)
        hand = _limb(pen, place, moving, look.arm * scale, look.thick * scale, to, look.shirt, look.skin)
        _dot(pen, hand, look.thick * 0.65 * scale, look.skin)
        if pose.racket:
            tip = _along(hand, moving[1] - 10, 0.1 * scale, to)
            _line(pen, hand, tip, 0.02 * scale, (60, 40, 30))
            _ring(pen, _along(tip, moving[1] - 10, 0.06 * scale, to), 0.06 * scale, (60, 40, 30))
            _dot(pen, _along(tip, moving[1] - 60, 0.2 * scale, to), 0.02 * scale, (250, 250, 250))


def _limb(
    pen: ImageDraw.ImageDraw,
    place: Point,
    angles: Limb,
    length: float,
    thick: float,
    sign: float,
    upper: tuple[int, int, int],
    lower: tuple[int, int, int],
) -> Point:
    """Two parts from a joint on; returns where it ends."""
    joint = _along(place, angles[0], length, sign)
    end = _along(joint, angles[1], length, sign)
    _line(pen, joint, end, thick * 0.85, lower)
    _line(pen, place, joint, thick, upper)
    return end


def _along(place: Point, angle: float, length: float, sign: float) -> Point:
    turn = math.radians(angle)
    return place[0] + sign * length * math.sin(turn), place[1] + length * math.cos(turn)


def _line(pen: ImageDraw.ImageDraw, a: Point, b: Point, thick: float, colour: tuple[int, int, int]) -> None:
    side = SIZE * FINE
    pen.line([(x * side, y * side) for x, y in (a, b)], fill=colour, width=max(1, round(thick * side)))
    for each in (a, b):
        _dot(pen, each, thick / 2, colour)


def _dot(pen: ImageDraw.ImageDraw, place: Point, radius: float, colour: tuple[int, int, int]) -> None:
    pen.ellipse(_box(place, radius), fill=colour)


def _ring(pen: ImageDraw.ImageDraw, place: Point, radius: float, colour: tuple[int, int, int]) -> None:
    pen.ellipse(_box(place, radius), outline=colour, width=FINE)


def _box(place: Point, radius: float) -> tuple[float, float, float, float]:
    side = SIZE * FINE
    x, y, r = place[0] * side, place[1] * side, radius * side
    return x - r, y - r, x + r, y + r


def _colour(random: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = (int(each) for each in random.integers(low, high, 3))
    return red, green, blue


def _mixed(a: tuple[int, int, int], b: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue
