import pytest


@pytest.fixture(autouse=True)
def _keep_log_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line configures logging for its whole process, which other tests share."""
    monkeypatch.setattr("services.__main__.configure", lambda *_, **__: None)
