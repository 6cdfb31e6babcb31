"""`python -m sensorium` is the `sensorium` command."""

from sensorium.app.cli import run

if __name__ == "__main__":
    run()
