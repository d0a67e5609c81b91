from pathlib import Path


def pytest_addoption(parser):
    parser.addoption(
        "--golden-dir",
        type=Path,
        default=Path(__file__).parent / "parity" / "golden",
        help="folder of the reference .npz files for tests/parity",
    )


def pytest_collection_modifyitems(items):
    core = Path(__file__).parent / "core"
    items.sort(key=lambda item: core not in item.path.parents)  # the fast ones first
