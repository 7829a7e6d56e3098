"""Codes of faults in the words of those who mend them: what went wrong, and what to do."""

from msgspec import Struct


class FaultText(Struct, frozen=True):
    """What went wrong, and what to do about it."""

    title: str
    advice: str


TEXTS = {
    "PRODUCT_NOT_FOUND": FaultText(
        "Unknown product", "Add the product to your catalogue, then send these records again as they are."
    ),
    "MISSING_FIELD": FaultText("Missing value", "Fill in the field and send the record again."),
    "INVALID_TYPE": FaultText("Wrong kind of value", "Write numbers as numbers and texts as texts."),
    "INVALID_VALUE": FaultText("Value not allowed", "Correct the value; the sample says what is allowed."),
    "INVALID_DATE": FaultText("Unreadable date", "Write the date like 2026-11-30T10:15:00+01:00."),
    "FUTURE_DATE": FaultText(
        "Date in the future", "Check the clock of the till, or send these records again once the time has come."
    ),
    "INVALID_CURRENCY": FaultText("Unknown currency", "Use a currency code of three letters, like EUR or USD."),
    "INVALID_QUANTITY": FaultText("Quantity not allowed", "Use a whole number in the range that the sample names."),
    "ALIAS_CONFLICT": FaultText(
        "Two names for one field", "The record names the same field twice with different values; keep one."
    ),
    "MODE_CONFLICT": FaultText(
        "Online or offline?", "The record says another mode than its import; correct one of the two."
    ),
    "USER_ID_MISMATCH": FaultText(
        "Another user", "The record names another user than the address that it was sent to; correct one of the two."
    ),
    "AMBIGUOUS_RECORD": FaultText(
        "Order or return?", "The record has fields of an order and of a return; keep those of one."
    ),
    "DUPLICATE_IN_BATCH": FaultText(
        "Twice in one import", "The same record is in the import twice; remove the one that is wrong."
    ),
    "PII_NOT_HASHED": FaultText(
        "Personal data in plain text", "Hash e-mail addresses and card numbers before you send them."
    ),
    "UNPROCESSABLE": FaultText(
        "Could not be processed", "This is a fault of the system, not of the record. Please report it."
    ),
}
_OTHER = FaultText("", "Correct the record as the message says and send it again.")


def describe_fault(code: str) -> FaultText:
    """Return the words for a code; an unknown one keeps its own."""
    found = TEXTS.get(code)
    return found or FaultText(code.replace("_", " ").capitalize(), _OTHER.advice)
