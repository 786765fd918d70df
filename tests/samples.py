"""Where the sample files lie."""

from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
