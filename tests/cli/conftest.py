import pytest


@pytest.fixture(autouse=True)
def _log_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's door sets up the log of its process, which here is that of all other tests, too."""
    monkeypatch.setattr("services.__main__.configure", lambda *_, **__: None)
