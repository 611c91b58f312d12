import pytest
from data.tiny_dataset import Site


@pytest.fixture(autouse=True)
def _no_outside_world(request, monkeypatch, tmp_path):
    """No test sees the user's data, cache, mirrors, proxies or tools, except those that are about the real data."""
    if request.node.get_closest_marker("real_data"):
        return
    for name in ("CHAINRULE_DATA_DIR", "CHAINRULE_MIRROR", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHAINRULE_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def site():
    server = Site()
    yield server
    server.close()
