"""What a model can and cannot see, said where people judge its answers."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Note:
    """Short sentences for the page and the terminal; the last two are empty where nothing finer is to be had."""

    sees: str
    misses: str
    switch: str = ""
    command: str = ""


CLIP_COMMAND = "sensorium index FOLDER --model clip-vit-b-32 --index clip-index"


def note_on(model: str) -> Note:
    """The note on the model of that name."""
    if model == "pocket":
        return Note(
            sees="pocket knows animals, plants, food, vehicles, buildings, furniture and other everyday things.",
            misses="It cannot read text in pictures, count, tell who somebody is, or follow a whole sentence: “a dog "
            "left of a red car” means little more to it than “dog, car”. Art, diagrams and moods are mostly lost on "
            "it.",
            switch="For a finer eye index again with public CLIP weights:",
            command=CLIP_COMMAND,
        )
    if model.startswith("vit"):
        return Note(
            sees="This model compares pictures with pictures.",
            misses="It knows no words: drop a picture to search.",
            switch="To search with words index again with public CLIP weights:",
            command=CLIP_COMMAND,
        )
    if Path(model).name.startswith("imagebind"):
        return Note(
            sees="ImageBind puts pictures, films, sounds, words, depth, heat and motion into one space: any of them "
            "finds any other. A film is both seen and heard.",
            misses="Sounds, depth, heat and motion were bound to words through pictures alone: what is seldom pictured "
            "with its sound, such as speech or music by its mood, it tells apart poorly. It does not transcribe speech "
            "and does not read long text.",
        )
    return Note(
        sees="CLIP models follow whole captions and know most things that people photograph and write about.",
        misses="They are weak at counting, at left and right, at negation (“no people”: subtract people instead), and "
        "they share the biases of pictures and captions from the web.",
    )
