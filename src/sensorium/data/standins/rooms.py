"""Rooms rendered by Bullet's software renderer, each pixel with its depth and what it shows; a program of its own.

`python -m sensorium.data.standins.rooms FOLDER PART FIRST STEP COUNT` draws pictures FIRST, FIRST + STEP, ... below
COUNT. It is run so because Bullet talks on standard output and keeps what it has loaded.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sensorium.data.standins.cutouts import Random, ground

SIZE = 160
OVER = 3  # samples a side of a pixel for its colour; the middle one gives depth and class
NEAR, FAR, VIEW = 0.2, 14.0, 60.0  # metres, metres, degrees
VIEWS = 6  # pictures of one room
PARTS = ("validation", "train")
SEED = 20260102
THINGS = {
    "ball": ("soccerball.urdf", "sphere2.urdf"),
    "mug": ("objects/mug.urdf",),
    "toy brick": ("lego/lego.urdf",),
    "domino": ("domino/domino.urdf",),
    "duck": ("duck_vhacd.urdf",),
    "droid": ("r2d2.urdf",),
    "car": ("racecar/racecar.urdf", "husky/husky.urdf"),
    "table": ("table_square/table_square.urdf",),
    "tray": ("tray/traybox.urdf",),
    "bicycle": ("bicycle/bike.urdf",),
    "robot dog": ("aliengo/aliengo.urdf", "a1/a1.urdf"),
    "robot arm": ("kuka_iiwa/model.urdf",),
}
"""What Bullet's package brings, by class; longest sides are made 0.6 to 1.2 m, so sizes tell little about distance."""
CLASSES = ("floor", "wall", *THINGS)
ROOM, WALL = 4.0, 7.0  # metres: half the floor's side, the height of the walls; no picture looks over them


Place = tuple[float, float, float]
"""Of a thing on the floor: x, y and the radius that it takes, in metres."""


class Rooms:
    """A running renderer and what it has loaded."""

    def __init__(self, folder: Path) -> None:
        import pybullet  # pyright: ignore[reportMissingImports]
        import pybullet_data  # pyright: ignore[reportMissingImports]

        self.bullet: Any = cast(Any, pybullet)
        self.folder, self.textures = folder, 0
        self.client: int = self.bullet.connect(self.bullet.DIRECT)
        self.bullet.setAdditionalSearchPath(cast(Any, pybullet_data).getDataPath())

    def close(self) -> None:
        """Let the renderer go."""
        self.bullet.disconnect(self.client)

    def build(self, random: Random) -> tuple[dict[int, int], list[Place]]:
        """A floor, four walls and three to six things on it; returns each body's class, and where things stand."""
        self.bullet.resetSimulation()
        classes: dict[int, int] = {}
        for half, at in (
            ((ROOM, ROOM, 0.05), (0.0, 0.0, -0.05)),
            *(((0.05, ROOM, WALL / 2), (side * ROOM, 0.0, WALL / 2)) for side in (-1.0, 1.0)),
            *(((ROOM, 0.05, WALL / 2), (0.0, side * ROOM, WALL / 2)) for side in (-1.0, 1.0)),
        ):
            body = self._box(half, at)
            self._cover(body, random)
            classes[body] = CLASSES.index("floor" if at[2] < 0 else "wall")
        taken: list[Place] = []
        names = list(THINGS)
        for chosen in random.permutation(len(names))[: int(random.integers(3, 7))]:
            files = THINGS[names[int(chosen)]]
            file, long = files[int(random.integers(len(files)))], float(random.uniform(0.6, 1.2))
            body = self._thing(file, long, float(random.uniform(0, 2 * np.pi)), taken, random)
            classes[body] = CLASSES.index(names[int(chosen)])
        return classes, taken

    def _box(self, half: tuple[float, ...], at: tuple[float, ...]) -> int:
        shape = self.bullet.createVisualShape(self.bullet.GEOM_BOX, halfExtents=half, rgbaColor=[1, 1, 1, 1])
        return self.bullet.createMultiBody(0, -1, shape, at)

    def _cover(self, body: int, random: Random) -> None:
        self.textures += 1  # Bullet remembers pictures by their name
        picture = self.folder / f".texture-{os.getpid()}-{self.textures}.png"
        Image.fromarray(np.clip(70 + 0.8 * ground(random, 256), 0, 255).astype(np.uint8)).save(picture)
        self.bullet.changeVisualShape(body, -1, textureUniqueId=self.bullet.loadTexture(str(picture)))
        picture.unlink()

    def _thing(self, file: str, long: float, turn: float, taken: list[Place], random: Random) -> int:
        """Load a thing, make its longest side so long, and stand it on the floor where nothing is near."""
        low, high = self._bounds(body := self.bullet.loadURDF(file))
        self.bullet.removeBody(body)
        scale = long / float((high - low).max())
        body = self.bullet.loadURDF(
            file, [0, 0, 0], self.bullet.getQuaternionFromEuler([0, 0, turn]), globalScaling=scale
        )
        low, high = self._bounds(body)
        round_ = float(np.hypot(*(high - low)[:2])) / 2
        x = y = 0.0
        for _ in range(100):
            x, y = (float(each) for each in random.uniform(-2.2, 2.2, 2))
            if all(np.hypot(x - other[0], y - other[1]) > round_ + other[2] for other in taken):
                break
        taken.append((x, y, round_))
        at, turned = self.bullet.getBasePositionAndOrientation(body)
        middle = (low + high) / 2
        moved = [at[0] + x - middle[0], at[1] + y - middle[1], at[2] - low[2]]
        self.bullet.resetBasePositionAndOrientation(body, moved, turned)
        return body

    def _bounds(self, body: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of all that a body shows: its lowest and its highest corner."""
        links = range(-1, self.bullet.getNumJoints(body))
        corners = np.array([self.bullet.getAABB(body, link) for link in links])
        return corners[:, 0].min(0), corners[:, 1].max(0)

    def look(
        self, eye: NDArray[np.float64], at: NDArray[np.float64], light: NDArray[np.float64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
        """Colours (size x size x 3), metres along the camera's axis, and the number of the body at each pixel."""
        side = SIZE * OVER
        view = self.bullet.computeViewMatrix(eye.tolist(), at.tolist(), [0, 0, 1])
        lens = self.bullet.computeProjectionMatrixFOV(VIEW, 1.0, NEAR, FAR)
        _, _, colours, buffer, bodies = self.bullet.getCameraImage(
            *(side, side, view, lens),
            lightDirection=light.tolist(),
            lightAmbientCoeff=0.7,
            lightDiffuseCoeff=0.45,
            shadow=1,
            renderer=self.bullet.ER_TINY_RENDERER,
        )
        pixels = np.asarray(colours, np.float32).reshape(SIZE, OVER, SIZE, OVER, 4)[..., :3].mean((1, 3))
        middle = np.s_[OVER // 2 :: OVER, OVER // 2 :: OVER]
        z = np.asarray(buffer, np.float64).reshape(side, side)[middle]
        metres = FAR * NEAR / (FAR - (FAR - NEAR) * z)
        shown = np.asarray(bodies, np.int32).reshape(side, side)[middle]
        return pixels.round().astype(np.uint8), metres.astype(np.float32), shown


def camera(
    random: Random, taken: Sequence[Place]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Where one stands, not in a thing; what one looks at; and where light comes from."""
    for _ in range(100):
        turn = random.uniform(0, 2 * np.pi)
        distance, height = random.uniform(1.8, 3.4), random.uniform(0.7, 1.7)
        x, y = distance * np.cos(turn), distance * np.sin(turn)
        if all(np.hypot(x - other[0], y - other[1]) > other[2] + 0.3 for other in taken):
            break
    else:
        x, y, height = 3.4, 3.4, 1.7  # a corner: things keep to the middle
    at = np.array([*random.uniform(-0.6, 0.6, 2), random.uniform(0.2, 0.6)])
    return np.array([x, y, height]), at, np.array([*random.uniform(-1.2, 1.2, 2), 3.0])


def draw(folder: Path, part: str, numbers: range) -> None:
    """Write images/N.png, depth/N.png (16 bits, millimetres) and labels/N.png for these numbers."""
    rooms, built = Rooms(folder), -1
    classes: dict[int, int] = {}
    taken: list[Place] = []
    for number in numbers:
        if number // VIEWS != built:
            built = number // VIEWS
            classes, taken = rooms.build(np.random.default_rng([SEED, PARTS.index(part), 0, built]))
        pixels, metres, bodies = rooms.look(*camera(np.random.default_rng([SEED, PARTS.index(part), 1, number]), taken))
        table = np.full(max(classes) + 2, 255, np.uint8)  # the last, also body -1, is nothing
        table[list(classes)] = list(classes.values())
        for kind, values in (
            ("labels", table[bodies]),
            ("depth", np.where(bodies < 0, 0, (metres * 1000).round()).astype(np.uint16)),
            ("images", pixels),
        ):
            Image.fromarray(values).save(folder / kind / f"{number:05}.png")
    rooms.close()


if __name__ == "__main__":
    first, step, count = (int(each) for each in sys.argv[3:6])
    draw(Path(sys.argv[1]), sys.argv[2], range(first, count, step))
