"""How often "good match" and "no good match" are right: python benchmarks/verdict.py [--model pocket]

Real photographs that the packages scikit-image and scikit-learn carry; questions whose answer is among them, and
questions whose answer is not. A verdict is right when it says "good" and the first hit is a true answer, or when it
says "no good match" and there is none. Then each question again in a collection from which its answers were taken out.
"""

import argparse
import tempfile
from pathlib import Path

import skimage
import sklearn

import sensorium
from sensorium.search.index import Index

PHOTOGRAPHS = {
    "astronaut": ["an astronaut", "a woman in a space suit", "a person smiling"],
    "brick": ["a brick wall", "bricks"],
    "camera": ["a photographer with a tripod", "a man with a camera"],
    "chelsea": ["a cat", "a kitten", "a pet", "whiskers"],
    "china": ["a chinese temple", "a palace", "a pagoda"],
    "clock_motion": ["a clock", "a watch"],
    "coffee": ["a cup of coffee", "an espresso", "a hot drink", "a spoon on a saucer"],
    "coins": ["ancient coins", "money"],
    "flower": ["a flower", "a pink dahlia", "a blossom in a garden"],
    "grass": ["grass", "a lawn"],
    "gravel": ["gravel", "pebbles", "small stones"],
    "horse": ["a horse"],
    "hubble_deep_field": ["galaxies", "stars in space"],
    "ihc": ["a tissue under the microscope", "stained cells"],
    "moon": ["the moon", "craters"],
    "motorcycle_left": ["a motorcycle", "a motorbike in a garage"],
    "page": ["a page of text", "printed words"],
    "retina": ["the retina of an eye"],
    "rocket": ["a rocket launch", "a spacecraft taking off", "a missile"],
}
ABSENT = """
a submarine | a birthday cake | a wedding couple | a football match | a helicopter | a christmas tree
a train | a bowl of soup | a skier | a tennis player | a violin | a map of europe | a police officer | a baby
a swimming pool | a bicycle | a supermarket | a piano | a hot air balloon | fireworks | a pair of shoes
a necktie | a traffic jam | a bathroom | sushi | a dentist | a racing car | a mobile phone | a whale
a lighthouse | a mushroom | a snowman | a chess board | a wine bottle | a tractor | a circus clown
a bed with pillows | a washing machine | people dancing | a harbour with ships | a church organ
an x-ray of a hand | a vacuum cleaner | playing cards | a stapler | a surfboard | a passport | a coral reef
a school bus | an umbrella | a bride | ice cream | a shopping cart | a dog | an elephant | a penguin | a pizza
a banana | a laptop | a guitar | a bridge | a snowy mountain | a beach | a castle | a crocodile | a fish
a butterfly
"""


def photographs() -> dict[str, Path]:
    """Name and file of every photograph."""
    folders = [Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"]
    files = {path.stem: path for folder in folders for path in folder.iterdir() if path.suffix in (".png", ".jpg")}
    return {name: files[name] for name in PHOTOGRAPHS if name in files}


def absent() -> list[str]:
    """Questions that none of the photographs answers."""
    return [question.strip() for line in ABSENT.strip().splitlines() for question in line.split("|")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--verbose", action="store_true", help="print every question")
    asked = parser.parse_args()
    files = photographs()
    good_right = good_wrong = none_right = none_wrong = first = 0
    with tempfile.TemporaryDirectory() as folder, Index.open(folder, sensorium.load(asked.model)) as index:
        index.update(files.values())
        for name, questions in PHOTOGRAPHS.items():
            for question in questions if name in files else []:
                answer = index.search(question, 1)
                right = answer.hits[0].path == files[name]
                first += right
                good_right += answer.good and right
                good_wrong += answer.good and not right
                none_wrong += not answer.good
                if asked.verbose:
                    mark = "right" if right else "WRONG"
                    print(f"{answer.confidence:5.2f} {mark} {question}: {answer.hits[0].path.stem}")
        present = good_right + good_wrong + none_wrong
        print(f"{present} questions with an answer: first hit right {first}, of these called good {good_right}")
        print(f"    {good_wrong} wrong first hits called good, {none_wrong} called no good match")
        said = 0
        for question in absent():
            answer = index.search(question, 1)
            none_right += not answer.good
            said += answer.good
            if asked.verbose and answer.good:
                print(f"{answer.confidence:5.2f} absent {question}: {answer.hits[0].path.stem}")
        print(f"{len(absent())} questions without one: {none_right} called no good match, {said} called good")
        left_out = 0
        for name, file in files.items():
            index.remove(file)
            left_out += sum(index.search(question, 1).good for question in PHOTOGRAPHS[name])
            index.update(file)
        print(f"{present} questions with their photograph left out: {left_out} called good")
    print(f"precision of good {good_right / (good_right + good_wrong + said):.2f}, recall {good_right / first:.2f}")


if __name__ == "__main__":
    main()
