"""A service does not start with another key than the stored data was written with, and names the setting."""

from base64 import b64encode

import pytest

from tests.deploy.test_page_token_keys import KEY, database, prepare

__all__ = ["database"]

OTHER = b64encode(b"o" * 32).decode()
BOTH = f"{OTHER},{KEY}"
# What would come of it: erased users are recorded by name again, known codes are sold again, sealed values are lost,
# receivers refuse what they are sent.
SETTINGS = [
    ("ledger", "erasure_key"),
    ("fulfilment", "code_digest_key"),
    ("fulfilment", "code_encryption_keys"),
    ("webhooks", "webhooks_encryption_keys"),
    ("webhooks", "webhooks_signing_keys"),
]


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
async def test_another_key_ends_the_process(mongodb_uri: str, database: str, name: str, setting: str) -> None:
    assert (await prepare(name, mongodb_uri, database)).is_done
    changed = await prepare(name, mongodb_uri, database, **{setting: OTHER})
    assert not changed.is_done
    assert changed.failure is not None
    assert changed.failure.setting == setting.upper()
    assert (await prepare(name, mongodb_uri, database)).is_done


async def test_a_signing_key_is_replaced_step_by_step(mongodb_uri: str, database: str) -> None:
    for seeds in (KEY, BOTH, OTHER):
        assert (await prepare("webhooks", mongodb_uri, database, webhooks_signing_keys=seeds)).is_done
    back = await prepare("webhooks", mongodb_uri, database, webhooks_signing_keys=KEY)
    assert back.failure is not None
