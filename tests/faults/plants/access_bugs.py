"""Planted bugs around access, bounds and calendars."""

from tests.faults.plants.plant import Edit, Plant, Pytest

TOKENS = "services/chassis/security/tokens.py"
TOKEN_TESTS = ("tests/chassis/security/test_tokens.py", "tests/chassis/security/test_tokens_forged.py")

PLANTS = (
    Plant(
        "a token for another API",
        "F5",
        Pytest(TOKEN_TESTS),
        [Edit(TOKENS, 'if claims.get("aud") != audience:', 'if "aud" not in claims:')],
    ),
    Plant(
        "a token of another environment",
        "F5",
        Pytest(TOKEN_TESTS),
        [Edit(TOKENS, 'if claims.get("iss") != issuer:', 'if "iss" not in claims:')],
    ),
    Plant(
        "a revoked token that is remembered",
        "F5",
        Pytest(TOKEN_TESTS),
        [
            Edit(
                TOKENS,
                "return verified if is_valid and not self._is_revoked(verified) else None",
                "return verified if is_valid else None",
            )
        ],
    ),
    Plant(
        "an API key of another site",
        "F5",
        Pytest(["tests/chassis/security/test_authentication.py"]),
        [
            Edit(
                "services/chassis/security/authentication.py",
                "if api_key not in token.api_keys or site is None or site.site != token.site:",
                "if api_key not in token.api_keys or site is None:",
            )
        ],
    ),
    Plant(
        "a body that inflates without bound",
        "I8",
        Pytest(["tests/ingest/test_inflate.py"]),
        [
            Edit(
                "services/ingest/domain/inflate.py",
                "decompressor.decompress(compressed, bound + 1)",
                "decompressor.decompress(compressed)",
            ),
            Edit("services/ingest/domain/inflate.py", "if size > max_bytes:", "if size < 0:"),
        ],
    ),
    Plant(
        "a truncated body that passes",
        "I2",
        Pytest(["tests/ingest/test_inflate.py"]),
        [Edit("services/ingest/domain/inflate.py", "if not decompressor.eof:", "if decompressor.eof is None:")],
    ),
    Plant(
        "a business day in UTC",
        "I6",
        Pytest(["tests/fulfilment/test_business_day.py"]),
        [
            Edit(
                "services/fulfilment/domain/business_day.py",
                "return to_datetime(at_us).astimezone(zone).date()",
                "return to_datetime(at_us).date()",
            )
        ],
    ),
)
