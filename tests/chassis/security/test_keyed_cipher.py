"""Encryption at rest with keys that can be replaced."""

import base64

import pytest

from services.chassis.security.keyed_cipher import Encrypted, KeyedCipher, WrongKeyError, derive_key_id, parse_keys

OLD, NEW = b"o" * 32, b"n" * 32


def a_cipher(*keys: bytes) -> KeyedCipher:
    return KeyedCipher(keys, setting="KEYS", subject="a thing")


def test_data_is_encrypted_with_the_first_key_and_decrypted_with_any() -> None:
    old, both = a_cipher(OLD), a_cipher(NEW, OLD)
    encrypted = old.encrypt(b"data", b"where")
    assert encrypted.key_id == old.key_id == derive_key_id(OLD)
    assert b"data" not in encrypted.ciphertext
    assert both.decrypt(encrypted, b"where") == b"data"
    assert both.encrypt(b"data", b"where").key_id == derive_key_id(NEW)
    assert set(both.key_ids) == {derive_key_id(OLD), derive_key_id(NEW)}


def test_equal_data_is_encrypted_differently() -> None:
    cipher = a_cipher(OLD)
    assert cipher.encrypt(b"data", b"") != cipher.encrypt(b"data", b"")


def test_without_its_key_data_is_not_decrypted() -> None:
    encrypted = a_cipher(OLD).encrypt(b"data", b"")
    with pytest.raises(WrongKeyError, match=rf"a thing is sealed with the key {encrypted.key_id}, which KEYS lacks"):
        a_cipher(NEW).decrypt(encrypted, b"")


@pytest.mark.parametrize("associated", [b"elsewhere", b""])
def test_encrypted_data_is_bound_to_its_place(associated: bytes) -> None:
    cipher = a_cipher(OLD)
    with pytest.raises(WrongKeyError, match="a thing cannot be opened with its key"):
        cipher.decrypt(cipher.encrypt(b"data", b"where"), associated)


def test_changed_data_is_not_decrypted() -> None:
    cipher = a_cipher(OLD)
    encrypted = cipher.encrypt(b"data", b"")
    changed = Encrypted(encrypted.key_id, encrypted.ciphertext[:-1] + bytes([encrypted.ciphertext[-1] ^ 1]))
    with pytest.raises(WrongKeyError):
        cipher.decrypt(changed, b"")


def test_keys_are_parsed() -> None:
    text = ", ".join(base64.b64encode(key).decode() for key in (OLD, NEW))
    assert parse_keys(text) == [OLD, NEW]


@pytest.mark.parametrize("text", ["", "!", "AAAA", base64.b64encode(b"x" * 31).decode()])
def test_invalid_keys_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be base64|must have 32 bytes"):
        parse_keys(text)
