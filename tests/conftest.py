from pathlib import Path


def pytest_addoption(parser):
    parser.addoption(
        "--golden-dir",
        type=Path,
        default=Path(__file__).parent / "parity" / "golden",
        help="folder of the reference .npz files for tests/parity",
    )
